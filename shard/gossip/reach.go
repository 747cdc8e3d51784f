package gossip

import (
	"context"

	"github.com/minitrue/minitrue/shard"
)

// reaches says whether this node, if it is to join, reaches a member by the way that data takes.
func (c *Cluster) reaches(ctx context.Context) bool {
	if c.o.Reach == nil {
		return true
	}
	members, known := c.strange()
	if known {
		return true
	}
	for _, m := range members {
		asking, cancel := context.WithTimeout(ctx, c.o.Timeout)
		err := c.o.Reach(asking, m)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		c.mu.Lock()
		c.warn("reach "+m.ID, true, "this node cannot join yet: a member is heard and gives no data", "peer", m.Name, "err", err,
			"hint", "is its peer port open, and are the certificates of both signed by the other's --peer-ca?")
		c.mu.Unlock()
	}
	return len(members) == 0
}

// strange are the members that are up, and whether this node is one of those that the records have.
func (c *Cluster) strange() (members []shard.Member, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := readState(c.set)
	for _, n := range s.nodes {
		a := s.addresses[n.ID]
		switch {
		case n.ID == c.identity.ID:
			return nil, true
		case c.up[n.ID]:
			members = append(members, shard.Member{Node: n, Name: a.Name, Gossip: a.Gossip, Peer: a.Peer, HTTP: a.HTTP, Up: true})
		}
	}
	return members, false
}
