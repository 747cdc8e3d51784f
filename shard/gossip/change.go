package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/merkle"
)

// one is a record as a list, none when there was an error.
func one(r merkle.Record, err error) ([]merkle.Record, error) {
	if err != nil {
		return nil, err
	}
	return []merkle.Record{r}, nil
}

// newcomer is what this node is when it comes. The caller holds mu.
func (c *Cluster) newcomer(s shard.State) shard.Node {
	n := shard.Node{ID: c.identity.ID, Zone: c.o.Zone, Weight: c.o.Weight, Observer: c.o.Observer, State: s, Since: c.now()}
	if n.Observer {
		n.State = shard.Active // it has nothing to copy
	}
	return n
}

// find returns a node by ID or name. The caller holds mu.
func (c *Cluster) find(node string) (shard.Member, error) {
	var found []shard.Member
	s := readState(c.set)
	for _, n := range s.nodes {
		m := shard.Member{Node: n, Name: s.addresses[n.ID].Name, Up: n.ID == c.identity.ID || c.up[n.ID]}
		if m.ID == node {
			return m, nil
		}
		if m.Name == node {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return shard.Member{}, fmt.Errorf("there is no node %q", node)
	case 1:
		return found[0], nil
	}
	return shard.Member{}, fmt.Errorf("%d nodes are named %q: give the ID", len(found), node)
}

// since is a time for a change that is decided now, later than all that this node knows of. The caller holds mu.
func (c *Cluster) since() int64 {
	now := c.now()
	for _, n := range readState(c.set).nodes {
		now = max(now, n.Since+1)
	}
	return now
}

// errOtherRing is a node that has copied, for a ring that is no more.
var errOtherRing = errors.New("the ring has changed since: what moves is not the same any more")

// Activate says that this node, which is joining, has copied all that it will own by the ring of an epoch, and fails when that is not the
// ring any more. The context bounds nothing: it is there for the interface of those that copy.
func (c *Cluster) Activate(_ context.Context, epoch uint64) error {
	return c.update("activate", func() ([]merkle.Record, error) {
		v := c.View()
		if v.Ring.Epoch() != epoch {
			return nil, errOtherRing
		}
		if v.Self < 0 || v.Members[v.Self].State != shard.Joining {
			return nil, errors.New("this node is not joining")
		}
		if v.Ring.Change() != v.Self {
			return nil, errors.New("another change comes before that of this node")
		}
		n := v.Members[v.Self].Node
		n.State, n.Since = shard.Active, c.now()
		records, err := one(c.put(nodePrefix+n.ID, n))
		if err != nil || n.Replaces == "" {
			return records, err
		}
		gone, err := c.remove(n.Replaces)
		return append(records, gone...), err
	})
}

// remove deletes the records of a node. The caller holds mu.
func (c *Cluster) remove(id string) (out []merkle.Record, err error) {
	for _, prefix := range []string{nodePrefix, addrPrefix, copiedPrefix, levelPrefix} {
		if r, known := c.set.Record(prefix + id); !known || r.Value == nil {
			continue
		}
		r, err := c.set.Delete(c.now(), prefix+id)
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Leave begins to move the data of a node, by ID or name, to the others. An observer, or a node that is still joining, goes at once.
func (c *Cluster) Leave(node string) error {
	return c.retire("leave", node, func(shard.Member) error { return nil })
}

// Forget takes a node out that is down for good: the others make the copies that it had from what they have. When they have them, it is gone.
func (c *Cluster) Forget(node string) error {
	return c.retire("forget", node, func(m shard.Member) error {
		if m.Up {
			return fmt.Errorf("node %s is up: let it leave", m.Name)
		}
		return nil
	})
}

func (c *Cluster) retire(what, node string, check func(shard.Member) error) error {
	return c.update(what, func() ([]merkle.Record, error) {
		m, err := c.find(node)
		if err == nil {
			err = check(m)
		}
		if err != nil {
			return nil, err
		}
		n := m.Node
		switch {
		case n.Observer || n.State == shard.Joining:
			return c.remove(n.ID)
		case n.State == shard.Leaving:
			return nil, nil
		case !slices.ContainsFunc(readState(c.set).nodes, func(o shard.Node) bool { return o.ID != n.ID && o.State == shard.Active && !o.Observer }):
			return nil, fmt.Errorf("node %s is the last one with data", m.Name)
		}
		n.State, n.Since = shard.Leaving, c.since()
		return one(c.put(nodePrefix+n.ID, n))
	})
}

// Left says that the others have all that this node had, which is leaving, by the ring of an epoch; it fails as Activate does. With that it
// is gone.
func (c *Cluster) Left(_ context.Context, epoch uint64) error {
	return c.update("left", func() ([]merkle.Record, error) {
		v := c.View()
		if v.Ring.Epoch() != epoch {
			return nil, errOtherRing
		}
		if v.Self < 0 || v.Members[v.Self].State != shard.Leaving || v.Ring.Change() != v.Self {
			return nil, errors.New("it is not the turn of this node to leave")
		}
		return c.remove(c.identity.ID)
	})
}

// Remove takes a node out at once and copies nothing. What only it had is lost, and until repair has run queries may miss samples of which it
// had one of the copies. It is the last resort, for more dead nodes than there are copies to spare.
func (c *Cluster) Remove(node string) error {
	return c.update("remove", func() ([]merkle.Record, error) {
		m, err := c.find(node)
		if err != nil {
			return nil, err
		}
		return c.remove(m.ID)
	})
}

// Replace lets a node that is joining take the place of one that is down for good: it gets exactly the partitions of that one, and nothing
// else moves. Both by ID or name.
func (c *Cluster) Replace(old, by string) error {
	return c.update("replace", func() ([]merkle.Record, error) {
		dead, err := c.find(old)
		if err != nil {
			return nil, err
		}
		heir, err := c.find(by)
		if err != nil {
			return nil, err
		}
		n := heir.Node
		if err := replacing(&n, dead); err != nil {
			return nil, err
		}
		n.Since = c.since()
		return one(c.put(nodePrefix+n.ID, n))
	})
}

// replacing makes a node the heir of another.
func replacing(n *shard.Node, dead shard.Member) error {
	switch {
	case n.State != shard.Joining || n.ID == dead.ID:
		return fmt.Errorf("node %s is %v: only one that is joining takes the place of another", n.ID, n.State)
	case dead.Up:
		return fmt.Errorf("node %s is up: let it leave", dead.Name)
	case dead.State == shard.Joining || dead.Observer:
		return fmt.Errorf("node %s has no data: forget it", dead.Name)
	}
	n.Replaces, n.Place, n.Weight = dead.ID, cmp.Or(dead.Place, dead.ID), dead.Weight
	return nil
}
