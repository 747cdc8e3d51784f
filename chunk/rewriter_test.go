package chunk

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// floatsOf decodes chunks, which must be in the Rewriter's cut.
func floatsOf(t testing.TB, cs []Chunk) []point {
	t.Helper()
	var ps []point
	for i, c := range cs {
		if i > 0 && c.MinTime <= cs[i-1].MaxTime {
			t.Fatalf("chunk %d overlaps the one before it", i)
		}
		it, err := c.Iterator(nil)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, drain(t, it)...)
	}
	return ps
}

// However samples were cut, written twice and encoded before, the Rewriter makes the same chunks of them.
func TestRewriterIsCanonical(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		step := []int64{1, 10, 1000, 60_000, Span / 3}[rng.IntN(5)]
		at := rng.Int64N(100*Span) - 50*Span
		var ps []point
		for range rng.IntN(4 * MaxDense) {
			ps = append(ps, point{t: at, v: math.Round(rng.NormFloat64()*100) / 10})
			at += step
			if rng.IntN(50) == 0 {
				at += rng.Int64N(10 * step)
			}
		}
		r := Rewriter{Window: []int64{0, Span, 6 * Span, 64 * Span}[rng.IntN(4)]}
		whole, err := Encode(nil, run(ps))
		if err != nil {
			t.Fatal(err)
		}
		want, err := r.Append(nil, whole)
		if err != nil {
			t.Fatal(err)
		}
		if !same(floatsOf(t, want), ps) {
			t.Fatalf("seed %d: samples changed", seed)
		}
		for _, c := range want {
			if c.Encoding != Dense || !r.window(c.MinTime).has(c.MaxTime) {
				t.Fatalf("seed %d: %v chunk from %d to %d", seed, c.Encoding, c.MinTime, c.MaxTime)
			}
		}
		var parts []Chunk
		for rest := ps; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(1000))
			part, err := Encode(nil, run(rest[:n]))
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(2) == 0 {
				if part, err = (&Rewriter{}).Append(nil, part); err != nil {
					t.Fatal(err)
				}
			}
			parts = append(parts, part...)
			if seed%2 == 0 && rng.IntN(3) == 0 {
				n -= rng.IntN(n) // some again
			}
			rest = rest[n:]
		}
		slices.SortStableFunc(parts, func(a, b Chunk) int { return cmp.Compare(a.MinTime, b.MinTime) })
		got, err := (&Rewriter{Window: r.Window}).Append(nil, parts)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, want)
		if got, err = (&Rewriter{Window: r.Window}).Append(nil, want); err != nil {
			t.Fatal(err)
		}
		equal(t, got, want)
	}
}

func equal(t *testing.T, got, want []Chunk) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b Chunk) bool {
		return a.Encoding == b.Encoding && a.MinTime == b.MinTime && a.MaxTime == b.MaxTime && a.Samples == b.Samples &&
			slices.Equal(a.Times, b.Times) && slices.Equal(a.Data, b.Data)
	}) {
		t.Fatalf("%d chunks, want %d, or they differ", len(got), len(want))
	}
}

// Histograms and floats come out merged by the package's rule.
func TestRewriterMerges(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 4))
		var chunks []Chunk
		var its []chunkenc.Iterator
		for range 1 + rng.IntN(4) {
			ps := randomPoints(rng)
			cs, err := Encode(nil, run(ps))
			if err != nil {
				t.Fatal(err)
			}
			chunks = append(chunks, cs...)
			its = append(its, run(ps))
		}
		slices.SortStableFunc(chunks, func(a, b Chunk) int { return cmp.Compare(a.MinTime, b.MinTime) })
		got, err := (&Rewriter{}).Append(nil, chunks)
		if err != nil {
			t.Fatal(err)
		}
		if want := drain(t, Merge(its...)); !same(floatsOf(t, got), want) {
			t.Fatalf("seed %d:\n%q\nwant\n%q", seed, texts(floatsOf(t, got)), texts(want))
		}
	}
}

// Dense chunks decode as chunkenc's, too.
func TestDenseDecode(t *testing.T) {
	cs, err := Encode(nil, run([]point{{t: -5, v: 1}, {t: 7, v: math.Copysign(0, -1)}, {t: 8, v: math.NaN()}}))
	if err != nil {
		t.Fatal(err)
	}
	if cs, err = (&Rewriter{}).Append(nil, cs); err != nil {
		t.Fatal(err)
	}
	for _, c := range cs {
		x, err := c.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if !same(drain(t, x.Iterator(nil)), floatsOf(t, []Chunk{c})) {
			t.Fatal("samples differ")
		}
	}
}
