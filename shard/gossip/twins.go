package gossip

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// same says whether a record has a value.
func same(b []byte, v any) bool {
	want, err := json.Marshal(v)
	return err == nil && bytes.Equal(b, want)
}

// elsewhere asks other runs of this node whether they are alive, and is true while one may be. One that was killed is no
// member for long; one that lives answers, and then the later of the two ends.
func (c *Cluster) elsewhere() bool {
	alive := false
	for _, m := range c.twins() {
		if err := c.send(m.addr, c.message(kindHello, hello{c.settled.Load()}.appendTo(nil))); err == nil {
			alive = true
		}
	}
	return alive
}

// watchTwins looks for other runs of this node, which may come or be found later, when a split heals.
func (c *Cluster) watchTwins(ctx context.Context) {
	for sleep(ctx, jitter(c.o.Interval)) {
		c.elsewhere()
		if err := c.register(); err != nil { // somebody else wrote what is wrong
			c.log.Error("the records of this node", "err", err)
		}
	}
}

// meet is told of another run of this node, and decides which of the two goes on: the one that the others know, or else the
// one that began first. Both decide the same.
func (c *Cluster) meet(m message, id string, other run) ([][]byte, error) {
	h, err := decodeHello(m.body)
	if err != nil || id != c.identity.ID || other == c.run {
		return nil, err
	}
	settled := c.settled.Load()
	if h.settled != settled && h.settled || h.settled == settled && other.before(c.run) {
		c.end(fmt.Errorf("node %s is at %s: %w", id, m.addr, ErrDuplicate))
	} else {
		c.log.Error("another process runs with a copy of the data folder of this node, and is told to end", "peer", m.addr)
	}
	if m.kind == kindAnswer {
		return nil, nil
	}
	return [][]byte{c.message(kindAnswer, hello{settled}.appendTo(nil))}, nil
}
