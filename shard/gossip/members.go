package gossip

import (
	"math/rand/v2"
	"sync"

	"github.com/hashicorp/memberlist"
)

// member is a run of a node that is alive, as far as memberlist knows.
type member struct {
	id      string // of the node
	run     run
	addr    string // host:port of its gossip, with an IP
	cluster string // UUID, "" while it has none
}

// members are those that are alive. They are copies: memberlist changes its own under a lock that it does not share.
type members struct {
	mu    sync.Mutex // guards alive; memberlist's locks are held when it is taken
	alive map[string]member
}

// note is told what memberlist says of a member.
func (s *members) note(n *memberlist.Node, alive bool) {
	id, r, err := parseMember(n.Name)
	if err != nil {
		return // it was not admitted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !alive {
		delete(s.alive, n.Name)
		return
	}
	if s.alive == nil {
		s.alive = map[string]member{}
	}
	s.alive[n.Name] = member{id, r, n.Address(), clusterText(n.Meta)}
}

// list returns those that have a property.
func (s *members) list(has func(m member) bool) []member {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []member
	for _, m := range s.alive {
		if has(m) {
			out = append(out, m)
		}
	}
	return out
}

// count is how many members there are.
func (s *members) count() int { return len(s.list(func(member) bool { return true })) }

// others are the members other than this node and its former runs.
func (c *Cluster) others() []member {
	return c.members.list(func(m member) bool { return m.id != c.identity.ID })
}

// random is one of the others; ok is false when there is none.
func (c *Cluster) random() (m member, ok bool) {
	others := c.others()
	if len(others) == 0 {
		return member{}, false
	}
	return others[rand.IntN(len(others))], true
}

// twins are members that are other runs of this node. One at the address of this run is its past: two cannot listen there.
func (c *Cluster) twins() []member {
	return c.members.list(func(m member) bool { return m.id == c.identity.ID && m.run != c.run && m.addr != c.addr() })
}
