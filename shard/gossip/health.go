package gossip

import (
	"context"
	"maps"
)

// watchHealth puts into the view who is up.
func (c *Cluster) watchHealth(ctx context.Context) {
	for {
		up := map[string]bool{}
		for _, m := range c.others() {
			up[m.id] = true
		}
		c.setUp(up)
		select {
		case <-ctx.Done():
			return
		case <-c.health:
		}
	}
}

func (c *Cluster) setUp(up map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if maps.Equal(up, c.up) {
		return
	}
	before := c.up
	c.up = up
	for _, m := range c.View().Members {
		switch {
		case up[m.ID] && !before[m.ID]:
			c.log.Info("a node is up", "peer", m.Name, "address", m.Gossip)
		case before[m.ID] && !up[m.ID]:
			c.log.Warn("a node is down", "peer", m.Name, "address", m.Gossip)
		}
	}
	if err := c.publish(); err != nil {
		c.log.Error("who is up is not in the view", "err", err)
	}
}
