package cluster

import (
	"math/bits"
	"slices"

	"github.com/minitrue/minitrue/shard"
)

// nodes is a set of nodes by their index in a ring.
type nodes [shard.MaxNodes / 64]uint64

func nodesOf(list []uint8) (s nodes) {
	for _, n := range list {
		s.add(int(n))
	}
	return s
}

func (s *nodes) add(n int)      { s[n/64] |= 1 << (n % 64) }
func (s *nodes) has(n int) bool { return s[n/64]>>(n%64)&1 == 1 }

// common is how many nodes are in both sets.
func (s *nodes) common(o *nodes) int {
	n := 0
	for i := range s {
		n += bits.OnesCount64(s[i] & o[i])
	}
	return n
}

// minus is s without the nodes of o.
func (s *nodes) minus(o *nodes) nodes {
	out := *s
	for i := range out {
		out[i] &^= o[i]
	}
	return out
}

// route is where writes of some partitions go.
type route struct {
	owners, next nodes
	writers      []uint8 // both, sorted
	index        uint16  // in routes.all
}

// routes are those of one ring.
type routes struct {
	ring  *shard.Ring
	of    [shard.Partitions]uint16 // partition → index in all
	all   []route
	known known
}

func newRoutes(r *shard.Ring) *routes {
	rs := &routes{ring: r}
	type key struct{ owners, next nodes }
	known := map[key]uint16{}
	for p := range rs.of {
		k := key{nodesOf(r.Owners(uint16(p))), nodesOf(r.Next(uint16(p)))}
		i, ok := known[k]
		if !ok {
			i = uint16(len(rs.all))
			known[k] = i
			writers := slices.Clone(r.Writers(uint16(p)))
			slices.Sort(writers)
			rs.all = append(rs.all, route{k.owners, k.next, writers, i})
		}
		rs.of[p] = i
	}
	return rs
}
