package repair

import (
	"sync"

	"github.com/minitrue/minitrue/shard"
)

// places remembers what belongs to whom in the latest ring, which the ring itself works out anew each time.
type places struct {
	mu   sync.Mutex // guards what follows
	ring *shard.Ring
	sets map[place]*shard.Set
}

type place struct {
	role role
	node int
}

type role uint8

const (
	owned role = iota
	written
	copying
)

// get returns a set that the caller may change.
func (c *places) get(ring *shard.Ring, what role, node int) *shard.Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ring != ring {
		c.ring, c.sets = ring, map[place]*shard.Set{}
	}
	s := c.sets[place{what, node}]
	if s == nil {
		switch what {
		case owned:
			s = ring.Owned(node)
		case written:
			s = ring.Written(node)
		case copying:
			s = ring.Copying(node)
		}
		c.sets[place{what, node}] = s
	}
	out := *s
	return &out
}
