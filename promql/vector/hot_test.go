package vector

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/minitrue/minitrue/chunk"
)

// randomSamples returns samples at regular or other times.
func randomSamples(r *rand.Rand) (t []int64, v []float64) {
	n, step := 1+r.IntN(100), 1+r.Int64N(1000)
	at := r.Int64N(1e6) - 5e5
	even, falls := r.IntN(2) == 0, r.IntN(2) == 0
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
	return t, v
}

// What is said of a part of a hot chunk is what its samples say.
func TestHotParts(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 12))
		at, v := randomSamples(r)
		x := newHot(at, v)
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

// What statistics could not stand for is not let in, nor what was made for one query.
func TestHotChunksAreLetIn(t *testing.T) {
	at, v := randomSamples(rand.New(rand.NewPCG(1, 13)))
	odd := append([]float64{math.NaN()}, v[1:]...)
	w := &worker{hot: newHotChunks()}
	for range 3 {
		w.warm(&chunk.Chunk{Serial: 7}, at, v)
		w.warm(&chunk.Chunk{}, at, v)
		w.warm(&chunk.Chunk{Serial: 9, Stats: chunk.Stats{Stale: 1}}, at, v)
		w.warm(&chunk.Chunk{Serial: 10}, at, odd)
	}
	for serial, want := range map[uint64]bool{0: false, 7: true, 9: false, 10: false} {
		if _, hot := w.hot.Get(serial); hot != want {
			t.Errorf("serial %d is hot: %v, want %v", serial, hot, want)
		}
	}
}
