package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/minitrue/minitrue/chunk/series"
)

// What known says is true of what it was told; it may forget, and is bounded.
func TestKnown(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var k known
	all := newRoutes(mustRing(t, 20, 3)).all
	ids := make([]series.ID, 50_000)
	route, writers := make([]int32, len(ids)), make([]uint8, len(ids))
	for i := range ids {
		ids[i] = series.ID{Hi: r.Uint64(), Lo: r.Uint64()}
		if i%3 == 2 { // but for one bit the same as another
			if ids[i] = ids[i-1]; r.IntN(2) == 0 {
				ids[i].Hi ^= 1 << r.IntN(64)
			} else {
				ids[i].Lo ^= 1 << (markLow + r.IntN(64-markLow))
			}
		}
	}
	told := make([]uint8, len(ids)) // by id: the writers
	for range 30 {
		writer := r.IntN(markWriters + 1) // the last one is never noted
		from := r.IntN(len(ids))
		to := from + r.IntN(len(ids)-from)
		if r.IntN(4) == 0 {
			k.forget(ids[from:to])
			clear(told[from:to])
		} else {
			for i := from; i < to; i++ {
				k.learn(ids[i:i+1], &all[i%len(all)], writer)
				if writer < markWriters {
					told[i] |= 1 << writer
				}
			}
		}
		k.look(ids, route, writers)
		for i := range ids {
			if writers[i]&^told[i] != 0 {
				t.Fatalf("series %d is known by %b, want some of %b", i, writers[i], told[i])
			}
			if yes := writers[i] != 0; yes && route[i] != int32(i%len(all)) || !yes && route[i] != none {
				t.Fatalf("series %d, known by %b, takes route %d, want %d", i, writers[i], route[i], i%len(all))
			}
		}
	}
	for range 10 {
		k.learn(ids, &all[0], 0)
	}
	k.look(ids, route, writers)
	if n := len(slices.DeleteFunc(writers, func(w uint8) bool { return w == 0 })); n < len(ids)*9/10 {
		t.Errorf("of %d series it remembers %d", len(ids), n)
	}
	if n := len(*k.marks.Load()); n > 8*len(ids) {
		t.Errorf("%d places for %d series", n, len(ids))
	}
}

func BenchmarkKnown(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("series=%d", n), func(b *testing.B) {
			var k known
			ids, to, writers := make([]series.ID, n), make([]int32, 2000), make([]uint8, 2000)
			for i := range ids {
				ids[i] = series.ID{Hi: r.Uint64(), Lo: r.Uint64()}
			}
			for range 20 {
				k.learn(ids, &route{}, 0)
			}
			at := 0
			for b.Loop() {
				k.look(ids[at:at+len(to)], to, writers)
				at = (at + len(to)) % len(ids)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(to)), "ns/series")
		})
	}
}
