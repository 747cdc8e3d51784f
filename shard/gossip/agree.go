package gossip

import (
	"context"

	"github.com/hashicorp/memberlist"
)

// Agreed returns a channel that is closed when this node has had, since it began, the same records as each other one that is up, or knows of no other: then
// it has heard of what was decided while it was away. One other node would not do, which may have been away too. A node that reaches nobody waits in vain.
func (c *Cluster) Agreed() <-chan struct{} { return c.agreed }

// agree notes that another node has the same records.
func (c *Cluster) agree(id string) {
	c.synced.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.same[id] = true
}

// catchUp asks the other nodes for their records until this node has had those of all.
func (c *Cluster) catchUp(ctx context.Context) {
	for {
		if *c.cluster.Load() != "" {
			others, behind := c.behind()
			if len(behind) == 0 && (others > 0 || c.noOthers()) && c.asked.Load() {
				close(c.agreed)
				return
			}
			b := c.message(kindAsk, c.root.Load().AppendTo(nil))
			for _, m := range behind { // a packet that is lost is sent again
				c.metrics.sent.Add(float64(len(b)))
				if err := c.ml.Load().SendToAddress(memberlist.Address{Addr: m.addr}, b); err != nil {
					c.log.Debug("a peer cannot be reached", "peer", m.addr, "err", err)
				}
			}
		}
		if !sleep(ctx, jitter(c.o.Interval/5)) {
			return
		}
	}
}

// behind are the nodes of this one's cluster that are up and whose records it has not had yet, and how many there are with the others.
func (c *Cluster) behind() (others int, behind []member) {
	cluster := *c.cluster.Load()
	all := c.members.list(func(m member) bool { return m.id != c.identity.ID && m.cluster == cluster })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range all {
		if !c.same[m.id] {
			behind = append(behind, m)
		}
	}
	return len(all), behind
}
