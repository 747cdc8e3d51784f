package gossip

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/merkle"
)

// settle makes this node known to its cluster, once it has reached one: when the records here are those of another node, and no other run of
// this node answers.
func (c *Cluster) settle(ctx context.Context) {
	for !c.settled.Load() {
		if *c.cluster.Load() != "" {
			c.adopt()
			switch {
			case c.noOthers():
				c.synced.Store(true)
			case !c.synced.Load():
				if m, ok := c.random(); ok {
					if err := c.send(m.addr, c.message(kindAsk, c.root.Load().AppendTo(nil))); err != nil {
						c.log.Debug("a peer cannot be reached", "peer", m.addr, "err", err)
					}
				}
			}
			if c.synced.Load() && !c.elsewhere() && c.reaches(ctx) {
				c.settled.Store(true)
				if err := c.register(); err != nil {
					c.settled.Store(false)
					c.log.Error("this node is not known to its cluster yet", "err", err)
				}
			}
		}
		if !sleep(ctx, jitter(c.o.Interval/5)) {
			return
		}
	}
	c.watchTwins(ctx)
}

// adopt makes the cluster that was reached that of this node, for ever.
func (c *Cluster) adopt() {
	cluster := *c.cluster.Load()
	c.mu.Lock()
	fresh := c.identity.Cluster != cluster
	c.identity.Cluster = cluster
	c.mu.Unlock()
	if !fresh {
		return
	}
	c.log.Info("reached the cluster", "cluster", cluster)
	c.sayCluster()
}

// noOthers says whether the records know of no other node: then there is nobody to ask.
func (c *Cluster) noOthers() bool {
	v := c.View()
	return v.Self >= 0 && len(v.Members) == 1
}

// register writes the records of this node where they are missing or not right.
func (c *Cluster) register() error {
	return c.update("register", func() (records []merkle.Record, err error) {
		r, known := c.set.Record(nodePrefix + c.identity.ID)
		switch {
		case known && r.Value == nil:
			c.end(ErrRemoved)
			return nil, nil
		case known:
			records, err = c.reshape()
		default:
			records, err = c.comes()
		}
		if b, _ := c.set.Get(addrPrefix + c.identity.ID); err == nil && !same(b, c.address()) {
			var found []merkle.Record
			found, err = one(c.put(addrPrefix+c.identity.ID, c.address()))
			records = append(records, found...)
		}
		return records, err
	})
}

// comes writes the record of this node when it comes into a cluster. The caller holds mu.
func (c *Cluster) comes() ([]merkle.Record, error) {
	n := c.newcomer(shard.Joining)
	n.Since = c.since()
	if nodes := readState(c.set).nodes; len(nodes) >= shard.MaxNodes {
		return nil, fmt.Errorf("the cluster has %d nodes, as many as are possible", len(nodes))
	}
	if c.o.Replaces != "" {
		dead, err := c.find(c.o.Replaces)
		if err == nil {
			err = replacing(&n, dead)
		}
		if err != nil {
			err = fmt.Errorf("replace: %w", err)
			c.end(err)
			return nil, err
		}
	}
	return one(c.put(nodePrefix+n.ID, n))
}

// reshape takes over a zone and weight that differ from those that the node joined with, if no data moves by that. The caller holds mu.
func (c *Cluster) reshape() ([]merkle.Record, error) {
	nodes := readState(c.set).nodes
	i := slices.IndexFunc(nodes, func(n shard.Node) bool { return n.ID == c.identity.ID })
	if i < 0 {
		return nil, errors.New("the record of this node is not understood")
	}
	n := nodes[i]
	if n.Zone == c.o.Zone && n.Weight == c.o.Weight && n.Observer == c.o.Observer {
		return nil, nil
	}
	if len(nodes) > 1 || n.Observer != c.o.Observer {
		c.warn("shape", true, "zone, weight or mode differ from those with which this node joined, and stay as they were: let it leave and join anew with an empty data folder",
			"zone", n.Zone, "weight", n.Weight, "observer", n.Observer)
		return nil, nil
	}
	n.Zone, n.Weight = c.o.Zone, c.o.Weight
	return one(c.put(nodePrefix+n.ID, n))
}
