package shard

// Member is a node as the others see it.
type Member struct {
	Node
	Name   string `json:"name"`   // for people: that of --node-id
	Gossip string `json:"gossip"` // host:port
	Peer   string `json:"peer"`   // host:port of the port on which nodes talk to each other
	HTTP   string `json:"http"`   // host:port
	Up     bool   `json:"-"`      // it answers, as far as this node knows
}

// View is what a node knows of its cluster at one moment. It is immutable.
type View struct {
	Ring    *Ring
	Members []Member // as Ring.Nodes
	Self    int      // index of this node in both; −1 while it is in no cluster
}

// Alone says whether this node is the only one.
func (v *View) Alone() bool { return len(v.Members) == 1 && v.Self == 0 }
