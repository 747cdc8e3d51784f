package chunk

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// odd are the values that a merge rule can get wrong: every kind, every sign, every payload.
func odd() []float64 {
	bits := math.Float64frombits
	return []float64{
		0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64,
		math.NaN(), bits(value.NormalNaN), bits(value.NormalNaN + 7), bits(0xfff8000000000001), bits(0x7ff0000000000001), bits(value.StaleNaN),
	}
}

func TestPreferIsAJoin(t *testing.T) {
	bits := math.Float64bits
	vs := odd()
	for _, a := range vs {
		if bits(Prefer(a, a)) != bits(a) {
			t.Errorf("Prefer(%x, itself) is %x", bits(a), bits(Prefer(a, a)))
		}
		for _, b := range vs {
			ab := Prefer(a, b)
			if bits(ab) != bits(Prefer(b, a)) || bits(ab) != bits(a) && bits(ab) != bits(b) {
				t.Errorf("Prefer(%x, %x) is %x, the other way round %x", bits(a), bits(b), bits(ab), bits(Prefer(b, a)))
			}
			for _, c := range vs {
				if bits(Prefer(ab, c)) != bits(Prefer(a, Prefer(b, c))) {
					t.Errorf("Prefer of %x, %x, %x depends on the order", bits(a), bits(b), bits(c))
				}
			}
		}
	}
}

func TestPreferRule(t *testing.T) {
	nan, stale := math.NaN(), math.Float64frombits(value.StaleNaN)
	rows := []struct {
		name       string
		a, b, want float64
	}{
		{"the larger number", 1, 2, 2},
		{"of negatives, too", -1, -2, -1},
		{"a number beats NaN", math.Inf(-1), nan, math.Inf(-1)},
		{"NaN beats stale", nan, stale, nan},
		{"a number beats stale", -5, stale, -5},
		{"+0 beats -0", 0, math.Copysign(0, -1), 0},
	}
	for _, r := range rows {
		if got := Prefer(r.a, r.b); math.Float64bits(got) != math.Float64bits(r.want) {
			t.Errorf("%s: %v", r.name, got)
		}
	}
}

// point is a sample of any type; the merge tests make iterators of runs of them.
type point struct {
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

// points is an iterator over points in time order.
type points struct {
	ps []point
	i  int
}

func run(ps []point) chunkenc.Iterator { return &points{ps: ps, i: -1} }

func (p *points) here() chunkenc.ValueType {
	switch {
	case p.i >= len(p.ps):
		return chunkenc.ValNone
	case p.ps[p.i].h != nil:
		return chunkenc.ValHistogram
	case p.ps[p.i].fh != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

func (p *points) Next() chunkenc.ValueType { p.i = min(p.i+1, len(p.ps)); return p.here() }
func (p *points) Seek(t int64) chunkenc.ValueType {
	for p.i = max(p.i, 0); p.i < len(p.ps) && p.ps[p.i].t < t; p.i++ {
	}
	return p.here()
}
func (p *points) At() (int64, float64) { return p.ps[p.i].t, p.ps[p.i].v }
func (p *points) AtT() int64           { return p.ps[p.i].t }
func (p *points) AtST() int64          { return 0 }
func (p *points) Err() error           { return nil }
func (p *points) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return p.ps[p.i].t, p.ps[p.i].h.Copy()
}
func (p *points) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	if h := p.ps[p.i].h; h != nil {
		return p.ps[p.i].t, h.ToFloat(nil)
	}
	return p.ps[p.i].t, p.ps[p.i].fh.Copy()
}

// drain reads an iterator to its end.
func drain(t testing.TB, it chunkenc.Iterator) (ps []point) {
	t.Helper()
	for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
		ps = append(ps, at(it, vt))
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	if it.Next() != chunkenc.ValNone {
		t.Fatal("the iterator went on after its end")
	}
	return ps
}

func at(it chunkenc.Iterator, vt chunkenc.ValueType) point {
	p := point{t: it.AtT()}
	switch vt {
	case chunkenc.ValFloat:
		_, p.v = it.At()
	case chunkenc.ValHistogram:
		_, p.h = it.AtHistogram(nil)
	default:
		_, p.fh = it.AtFloatHistogram(nil)
	}
	return p
}

// text tells all of a point but the counter reset hint, which is about its neighbour.
func (p point) text() string {
	switch {
	case p.h != nil:
		h := p.h.Copy()
		h.CounterResetHint = 0
		return fmt.Sprintf("%d int %x %v", p.t, math.Float64bits(h.Sum), h)
	case p.fh != nil:
		return fmt.Sprintf("%d float %x %v", p.t, math.Float64bits(p.fh.Sum), p.fh)
	}
	return fmt.Sprintf("%d %x", p.t, math.Float64bits(p.v))
}

func texts(ps []point) (out []string) {
	for _, p := range ps {
		out = append(out, p.text())
	}
	return out
}

// intHistogram and floatHistogram hold n in each of two buckets.
func intHistogram(n int64, sum float64) *histogram.Histogram {
	return &histogram.Histogram{
		Count: uint64(2 * n), Sum: sum, Schema: 1, ZeroThreshold: 0.001,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{n, 0},
	}
}

func randomPoints(rng *rand.Rand) (ps []point) {
	vs := odd()
	at := rng.Int64N(10)
	for range rng.IntN(40) {
		p := point{t: at}
		switch rng.IntN(8) {
		case 0:
			p.h = intHistogram(1+rng.Int64N(3), float64(rng.IntN(3)))
		case 1:
			p.fh = intHistogram(1+rng.Int64N(3), float64(rng.IntN(3))).ToFloat(nil)
		case 2:
			p.h = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
		case 3:
			p.fh = &histogram.FloatHistogram{Sum: math.Float64frombits(value.StaleNaN)}
		default:
			p.v = vs[rng.IntN(len(vs))]
		}
		ps = append(ps, p)
		at += 1 + rng.Int64N(3)
	}
	return ps
}

// Whatever the order, the grouping and the repetition, the union is the same.
func TestMergeIsAJoin(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		a, b, c := randomPoints(rng), randomPoints(rng), randomPoints(rng)
		want := texts(drain(t, Merge(run(a), run(b), run(c))))
		ab := drain(t, Merge(run(a), run(b)))
		bc := drain(t, Merge(run(b), run(c)))
		rows := []struct {
			name string
			it   chunkenc.Iterator
		}{
			{"c b a", Merge(run(c), run(b), run(a))},
			{"b a c", Merge(run(b), run(a), run(c))},
			{"(a b) c", Merge(run(ab), run(c))},
			{"a (b c)", Merge(run(a), run(bc))},
			{"a a b c c", Merge(run(a), run(a), run(b), run(c), run(c))},
			{"(a b) (b c)", Merge(run(ab), run(bc))},
			{"of merges", Merge(Merge(run(a), run(c)), run(b))},
		}
		for _, r := range rows {
			if got := texts(drain(t, r.it)); !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s:\n%q\nwant\n%q", seed, r.name, got, want)
			}
		}
	}
}

// Every time of the inputs is there once, in order, with a value that one of them has.
func TestMergeIsTheUnion(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		ins := [][]point{randomPoints(rng), randomPoints(rng), randomPoints(rng)}
		have := map[int64][]string{}
		for _, in := range ins {
			for _, p := range in {
				have[p.t] = append(have[p.t], p.text())
			}
		}
		got := drain(t, Merge(run(ins[0]), run(ins[1]), run(ins[2])))
		if len(got) != len(have) {
			t.Fatalf("seed %d: %d samples, want %d", seed, len(got), len(have))
		}
		for i, p := range got {
			if i > 0 && p.t <= got[i-1].t || !slices.Contains(have[p.t], p.text()) {
				t.Fatalf("seed %d: %s, the inputs have %q", seed, p.text(), have[p.t])
			}
		}
	}
}

// Seek finds what Next finds, from wherever it starts.
func TestMergeSeek(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 3))
		a, b := randomPoints(rng), randomPoints(rng)
		all := drain(t, Merge(run(a), run(b)))
		it := Merge(run(a), run(b))
		pos := -1 // in all
		for range 20 {
			var vt chunkenc.ValueType
			if rng.IntN(2) == 0 {
				vt = it.Next()
				pos++
			} else {
				to := rng.Int64N(100)
				vt = it.Seek(to)
				for pos = max(pos, 0); pos < len(all) && all[pos].t < to; pos++ {
				}
			}
			if pos >= len(all) {
				if vt != chunkenc.ValNone {
					t.Fatalf("seed %d: %v after the end", seed, vt)
				}
				break
			}
			if got := at(it, vt); got.text() != all[pos].text() {
				t.Fatalf("seed %d: %s, want %s", seed, got.text(), all[pos].text())
			}
		}
	}
}
