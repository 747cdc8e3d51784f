package vector

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/minitrue/minitrue/chunk"
)

// randomHot returns samples at regular or other times, and what knows of them as a chunk.
func randomHot(r *rand.Rand, serial uint64) (chunk.Chunk, []int64, []float64) {
	n, step := 1+r.IntN(100), 1+r.Int64N(1000)
	at := r.Int64N(1e6) - 5e5
	even, falls := r.IntN(2) == 0, r.IntN(2) == 0
	var t []int64
	var v []float64
	x := 0.0
	for range n {
		t, v = append(t, at), append(v, x)
		if at += step; !even {
			at += r.Int64N(5)
		}
		if x += math.Round(r.Float64() * 1e3); falls && r.IntN(20) == 0 {
			x = -x / 3
		}
	}
	return chunk.Chunk{Serial: serial, Encoding: chunk.Dense}, t, v
}

// What is said of a part of a hot chunk is what its samples say.
func TestHotParts(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 12))
		_, at, v := randomHot(r, 1)
		x := newHot(1, at, v)
		var u units
		x.appendTo(&u)
		for i := range at {
			if u.t[i] != at[i] || u.v[i] != v[i] || len(u.t) != len(at) {
				t.Fatalf("seed %d: sample %d is %v at %d, want %v at %d", seed, i, u.v[i], u.t[i], v[i], at[i])
			}
		}
		for range 20 {
			from, to := at[0]-3+r.Int64N(at[len(at)-1]-at[0]+6), at[0]-3+r.Int64N(at[len(at)-1]-at[0]+6)
			want := chunk.NoStats()
			for i := range at {
				if from < at[i] && at[i] <= to {
					want.Observe(at[i], v[i])
				}
			}
			for f := fnSelect; f <= fnPresent; f++ {
				got := x.part(f, from, to)
				if got.Samples != want.Samples {
					t.Fatalf("seed %d: %d samples in (%d, %d], want %d", seed, got.Samples, from, to, want.Samples)
				}
				if want.Samples == 0 {
					continue
				}
				ok := got.MinTime == want.MinTime && got.MaxTime == want.MaxTime && got.First == want.First && got.Last == want.Last
				switch f {
				case fnSum, fnAvg:
					ok = ok && math.Abs(got.Total()-want.Total()) <= 1e-15*math.Abs(want.Total())
				case fnMin:
					ok = ok && got.Min == want.Min
				case fnMax:
					ok = ok && got.Max == want.Max
				case fnRate, fnIncrease:
					ok = ok && steady(&got) == steady(&want)
				}
				if !ok {
					t.Fatalf("seed %d, function %d: %+v in (%d, %d], want %+v", seed, f, got, from, to, want)
				}
			}
		}
	}
}

// A chunk is let in when it comes twice in a row, and none that its statistics could not stand for.
func TestHotChunksAreLetIn(t *testing.T) {
	var h hotChunks
	c, at, v := randomHot(rand.New(rand.NewPCG(1, 13)), 7)
	other := c
	for other.Serial++; hotSlot(other.Serial) != hotSlot(c.Serial); other.Serial++ {
	}
	for _, o := range []struct {
		c   chunk.Chunk
		hot bool
	}{{c, false}, {other, false}, {c, false}, {c, true}, {other, true}} {
		h.offer(&o.c, at, v)
		if got := h.get(&c) != nil; got != o.hot || h.get(&other) != nil {
			t.Fatalf("after serial %d it is hot: %v, want %v", o.c.Serial, got, o.hot)
		}
	}
	stale, made := c, c
	stale.Serial, stale.Stale, made.Serial = 9, 1, 0
	odd := append([]float64{math.NaN()}, v[1:]...)
	for range 3 {
		h.offer(&stale, at, v)
		h.offer(&made, at, v)
		h.offer(&chunk.Chunk{Serial: 10}, at, odd)
	}
	for _, serial := range []uint64{0, 9, 10} {
		if h.get(&chunk.Chunk{Serial: serial}) != nil {
			t.Errorf("serial %d is hot", serial)
		}
	}
}

// However many chunks come, and from however many goroutines, they take no more than they may, and each is its own.
func TestHotChunksAreBounded(t *testing.T) {
	var h hotChunks
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			at, v := make([]int64, chunk.MaxDense), make([]float64, chunk.MaxDense)
			for k := range uint64(1500) {
				c := chunk.Chunk{Serial: 1 + (k+g*100)%1300}
				for i := range v {
					at[i], v[i] = int64(i*i), float64(c.Serial)
				}
				if x := h.get(&c); x != nil && x.v[5] != float64(c.Serial) {
					t.Errorf("serial %d has the values of %v", c.Serial, x.v[5])
				}
				h.offer(&c, at, v)
				h.offer(&c, at, v)
			}
		})
	}
	wg.Wait()
	total, n := int64(0), 0
	for i := range h.slots {
		if x := h.slots[i].Load(); x != nil {
			total += x.size()
			n++
		}
	}
	if total != h.bytes.Load() || total > hotBytes || n < 50 {
		t.Errorf("%d chunks of %d bytes, counted as %d; they may have %d", n, total, h.bytes.Load(), hotBytes)
	}
}
