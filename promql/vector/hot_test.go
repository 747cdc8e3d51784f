package vector

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

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

// forgetful pushes all hot chunks out between the question which chunks are to be read and their use.
type forgetful struct {
	scanner
	hot *hotChunks
	met *atomic.Int64 // how many were hot
}

type forgetting struct {
	Selection
	forgetful
}

func (s forgetful) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := s.scanner.Scan(ctx, mint, maxt, ms...)
	return forgetting{sel, s}, err
}

func (s forgetting) Chunks(dst []chunk.Chunk, buf *[]byte, i int, need chunk.Need) ([]chunk.Chunk, error) {
	ask, before := need, s.met.Load()
	if need != nil {
		ask = func(serial uint64, mint, maxt int64) bool {
			if _, hot := s.hot.Get(serial); hot {
				s.met.Add(1)
			}
			return need(serial, mint, maxt)
		}
	}
	dst, err := s.Selection.Chunks(dst, buf, i, ask)
	if s.met.Load() > before {
		for k := range uint64(64 << hotBits) {
			s.hot.Put(1<<60+k, nil, 1)
		}
	}
	return dst, err
}

// A chunk that was hot when it was not read, and is not any more when it is needed, is read after all.
func TestHotChunksMayGo(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(3, 1)))}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	below := newProm(1e9)
	e := New(below, s, Options{})
	q := hourly("avg_over_time(requests_total[17m])")
	q.step = 0
	for range 3 {
		q.ask(t, e, s) // now they are hot
	}
	f := forgetful{s, e.hot, new(atomic.Int64)}
	e.source = f
	got, want := q.ask(t, e, s), q.ask(t, below, s)
	if err := differ(q, got, want); err != nil || f.met.Load() == 0 {
		t.Errorf("%d chunks were hot: %v", f.met.Load(), err)
	}
}
