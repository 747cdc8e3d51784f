package gossip

import "github.com/minitrue/minitrue/shard"

// View is what this node knows now. It is never nil.
func (c *Cluster) View() *shard.View { return c.view.Load() }

// Changed returns a channel that is closed when the view is no longer the one that it is at the moment of the call. Whoever wants to miss nothing
// calls it before View.
func (c *Cluster) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// publish makes the view anew after the records or the health of members changed. The caller holds mu.
func (c *Cluster) publish() error {
	c.set.Sweep(DeletePrefix, versionOf(c.swept()))
	root := c.set.Root()
	c.root.Store(&root)
	v, err := c.derive()
	if err != nil {
		return err
	}
	c.view.Store(v)
	c.metrics.see(v)
	c.warnOf(v)
	close(c.changed)
	c.changed = make(chan struct{})
	if r, ok := c.set.Record(nodePrefix + c.identity.ID); ok && r.Value == nil {
		c.end(ErrRemoved)
	}
	return nil
}

// derive makes the view from the records and from who is up. The caller holds mu.
func (c *Cluster) derive() (*shard.View, error) {
	s := readState(c.set)
	for _, err := range s.bad {
		c.warn(err.Error(), true, "a record of the cluster is left out", "err", err)
	}
	var old *shard.Ring
	if v := c.view.Load(); v != nil {
		old = v.Ring
	}
	ring, err := s.ring(old)
	c.warn("ring", err != nil, "the records of the cluster give no ring; the old one stays", "err", err)
	if ring == nil {
		ring = old
	}
	if ring == nil || ring.Index(c.identity.ID) < 0 { // in no cluster, and it shall not act as if
		if ring, err = shard.NewRing(nil, s.placed); err != nil {
			return nil, err
		}
	}
	v := &shard.View{Ring: ring, Self: ring.Index(c.identity.ID)}
	for _, n := range ring.Nodes() {
		a := s.addresses[n.ID]
		v.Members = append(v.Members, shard.Member{
			Node: n, Name: a.Name, Gossip: a.Gossip, Peer: a.Peer, HTTP: a.HTTP,
			Up: n.ID == c.identity.ID || c.up[n.ID],
		})
	}
	return v, nil
}

// end makes Run return with an error.
func (c *Cluster) end(err error) {
	select {
	case c.fatal <- err:
	default: // it ends already
	}
}

// warn logs something once while it holds. The caller holds mu.
func (c *Cluster) warn(what string, holds bool, text string, args ...any) {
	switch {
	case !holds:
		delete(c.warned, what)
	case !c.warned[what]:
		c.warned[what] = true
		c.log.Warn(text, args...)
	}
}
