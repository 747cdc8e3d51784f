package gossip

import (
	"fmt"
	"strings"

	"github.com/minitrue/minitrue/shard"
)

// Status is what an operator wants to know, as JSON.
type Status struct {
	Self        string       `json:"self"`    // UUID
	Cluster     string       `json:"cluster"` // UUID, "" while none is reached
	Epoch       string       `json:"epoch"`   // equal on all nodes that know the same
	Root        string       `json:"root"`    // likewise, of all records
	Replication int          `json:"replication_factor"`
	Consistency string       `json:"write_consistency"`
	Held        string       `json:"held_consistency"` // of all that was ever acknowledged; behind write_consistency while that is being raised
	Nodes       []NodeStatus `json:"nodes"`
	Change      *Change      `json:"change,omitempty"`
	Warnings    []string     `json:"warnings,omitempty"`
}

// NodeStatus is a node in a Status.
type NodeStatus struct {
	ID         string  `json:"id"`
	Name       string  `json:"name"`
	State      string  `json:"state"`
	Up         bool    `json:"up"`
	Observer   bool    `json:"observer,omitempty"`
	Zone       string  `json:"zone"`
	Weight     float64 `json:"weight"`
	HTTP       string  `json:"http"`
	Gossip     string  `json:"gossip"`
	Peer       string  `json:"peer"`
	Partitions int     `json:"partitions"` // that it owns
	Writes     int     `json:"written"`    // partitions of which it gets what is written
	Share      float64 `json:"share"`      // of all copies
	Replaces   string  `json:"replaces,omitempty"`
}

// Change is what is under way.
type Change struct {
	Node    string   `json:"node,omitempty"` // its name; "" when the number of copies changes
	State   string   `json:"state"`          // of the node, or resizing
	Copies  int      `json:"copies,omitempty"`
	Waiting []string `json:"waiting,omitempty"` // names of those that copy still
}

// Status is for minitruectl ring status and /api/v1/cluster.
func (c *Cluster) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.View()
	level := c.level()
	s := Status{
		Self: c.identity.ID, Cluster: *c.cluster.Load(), Epoch: epochText(v.Ring.Epoch()), Root: c.set.Root().String(),
		Replication: v.Ring.Replication(), Consistency: level.Write, Held: level.Held, Nodes: []NodeStatus{}, Warnings: warnings(v),
	}
	copies := 0
	for i, m := range v.Members {
		n := NodeStatus{
			ID: m.ID, Name: m.Name, State: m.State.String(), Up: m.Up, Observer: m.Observer, Zone: m.Zone, Weight: m.Weight,
			HTTP: m.HTTP, Gossip: m.Gossip, Peer: m.Peer, Replaces: m.Replaces,
			Partitions: v.Ring.Owned(i).Len(), Writes: v.Ring.Written(i).Len(),
		}
		copies += n.Partitions
		s.Nodes = append(s.Nodes, n)
	}
	for i := range s.Nodes {
		s.Nodes[i].Share = float64(s.Nodes[i].Partitions) / float64(max(1, copies))
	}
	if !v.Ring.Changing() {
		return s
	}
	s.Change = &Change{State: "resizing", Copies: v.Ring.Resizing()}
	if i := v.Ring.Change(); i >= 0 {
		s.Change.Node, s.Change.State = v.Members[i].Name, v.Members[i].State.String()
	}
	for _, m := range c.waiting(v) {
		s.Change.Waiting = append(s.Change.Waiting, m.Name)
	}
	return s
}

// warnings are what is not as it should be.
func warnings(v *shard.View) []string {
	if v.Self < 0 {
		return []string{"this node is in no cluster yet: it tries to reach its seeds"}
	}
	var out []string
	data, down, queue := 0, []string{}, []string{}
	for i, m := range v.Members {
		if !m.Observer && m.State != shard.Joining {
			data++
		}
		if !m.Up {
			down = append(down, m.Name)
		}
		if m.State != shard.Active && i != v.Ring.Change() {
			queue = append(queue, m.Name)
		}
	}
	if data < v.Ring.Replication() {
		out = append(out, fmt.Sprintf("%d copies are wanted, and there are as many as nodes with data: %d", v.Ring.Replication(), data))
	}
	if len(down) > 0 {
		out = append(out, "down: "+strings.Join(down, ", "))
	}
	if len(queue) > 0 {
		out = append(out, "waiting for the change that is under way: "+strings.Join(queue, ", "))
	}
	return out
}

// warnOf logs when there are fewer nodes than copies. The caller holds mu.
func (c *Cluster) warnOf(v *shard.View) {
	data := 0
	for _, m := range v.Members {
		if !m.Observer && m.State != shard.Joining {
			data++
		}
	}
	c.warn("copies", !c.o.lonely() && v.Self >= 0 && data < v.Ring.Replication(), "there are fewer nodes than copies wanted: each keeps everything until more join",
		"copies", v.Ring.Replication(), "nodes", data)
}
