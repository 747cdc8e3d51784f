package chunk

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

func TestWindow(t *testing.T) {
	rows := []struct{ t, want int64 }{
		{0, 0}, {1, 0}, {Span - 1, 0}, {Span, 1}, {-1, -1}, {-Span, -1}, {-Span - 1, -2},
		{math.MaxInt64, math.MaxInt64 / Span}, {math.MinInt64, math.MinInt64/Span - 1},
	}
	for _, r := range rows {
		if got := Window(r.t); got != r.want {
			t.Errorf("Window(%d) is %d, want %d", r.t, got, r.want)
		}
	}
}

// decodeAll reads all samples of chunks, whose cut and statistics it checks.
func decodeAll(t testing.TB, cs []Chunk) (ps []point) {
	t.Helper()
	for i, c := range cs {
		d, err := c.Decode()
		if err != nil {
			t.Fatal(err)
		}
		got := NoStats()
		if err := got.ObserveAll(d.Iterator(nil)); err != nil {
			t.Fatal(err)
		}
		// The bits of all of it, NaN too.
		if f := math.Float64bits; got.Samples != c.Samples || got.Stale != c.Stale || got.MinTime != c.MinTime || got.MaxTime != c.MaxTime ||
			!closeTo(got.Total(), c.Total(), 0) || !closeTo(got.Increase, c.Increase, 0) || got.Count() > 0 && c.Encoding == XOR && (f(got.Min) != f(c.Min) || f(got.Max) != f(c.Max)) {
			t.Fatalf("chunk %d: statistics %+v, want %+v", i, c.Stats, got)
		}
		if c.Samples > MaxSamples || Window(c.MinTime) != Window(c.MaxTime) || i > 0 && c.MinTime <= cs[i-1].MaxTime {
			t.Fatalf("chunk %d of %d samples lies at %d to %d", i, c.Samples, c.MinTime, c.MaxTime)
		}
		ps = append(ps, drain(t, d.Iterator(nil))...)
	}
	return ps
}

// values tells time and value of points, without how a histogram's buckets are laid out.
func values(ps []point) (out []point) {
	for _, p := range ps {
		switch {
		case p.h != nil:
			p = point{t: p.t, v: p.h.Sum + float64(p.h.Count)/1e6}
		case p.fh != nil:
			p = point{t: p.t, v: p.fh.Sum + p.fh.Count/1e6}
		}
		out = append(out, p)
	}
	return out
}

func same(a, b []point) bool {
	return slices.EqualFunc(values(a), values(b), func(a, b point) bool {
		return a.t == b.t && math.Float64bits(a.v) == math.Float64bits(b.v)
	})
}

func TestEncodeDecode(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		ps := randomPoints(rng)
		step := []int64{1, 1000, Span / 7}[rng.IntN(3)]
		for i := range ps {
			ps[i].t = (ps[i].t - 30) * step
		}
		cs, err := Encode(nil, run(ps))
		if err != nil {
			t.Fatal(err)
		}
		if got := decodeAll(t, cs); !same(got, ps) {
			t.Fatalf("seed %d:\n%q\nwant\n%q", seed, texts(got), texts(ps))
		}
	}
}

// Rewrite of overlapping chunks is the merge of their samples.
func TestRewriteIsMerge(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
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
		got, err := Rewrite(nil, chunks)
		if err != nil {
			t.Fatal(err)
		}
		if want := drain(t, Merge(its...)); !same(decodeAll(t, got), want) {
			t.Fatalf("seed %d:\n%q\nwant\n%q", seed, texts(decodeAll(t, got)), texts(want))
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	rows := []struct {
		name string
		c    Chunk
	}{
		{"no encoding", Chunk{Data: make([]byte, 10)}},
		{"an unknown encoding", Chunk{Encoding: 200, Data: make([]byte, 10)}},
		{"no data", Chunk{Encoding: XOR}},
		{"one byte", Chunk{Encoding: XOR, Data: []byte{0}}},
		{"a histogram without flags", Chunk{Encoding: Histogram, Data: []byte{0, 1}}},
		{"a float histogram without flags", Chunk{Encoding: FloatHistogram, Data: []byte{0, 1}}},
	}
	for _, r := range rows {
		if _, err := r.c.Decode(); err == nil {
			t.Errorf("%s: decoded", r.name)
		}
	}
}

// A chunk of any bytes gives samples or an error.
func FuzzDecodeXOR(f *testing.F) {
	cs, err := Encode(nil, run([]point{{t: 1, v: 1}, {t: 2, v: 2.5}, {t: 300, v: -1}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cs[0].Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Chunk{Encoding: XOR, Data: data}.Decode()
		if err != nil {
			return
		}
		s := NoStats()
		if err := s.ObserveAll(c.Iterator(nil)); err == nil && s.Samples != uint64(c.NumSamples()) {
			t.Fatalf("%d samples, want %d", s.Samples, c.NumSamples())
		}
	})
}

// Any three runs of floats merge alike in any order.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var runs [3][]point
		var at [3]int64
		for ; len(b) >= 9; b = b[9:] {
			i := b[0] % 3
			at[i] += 1 + int64(b[0]/3%4)
			runs[i] = append(runs[i], point{t: at[i], v: math.Float64frombits(binary.LittleEndian.Uint64(b[1:]))})
		}
		x := texts(drain(t, Merge(run(runs[0]), run(runs[1]), run(runs[2]))))
		y := texts(drain(t, Merge(run(runs[2]), Merge(run(runs[1]), run(runs[0])))))
		if !slices.Equal(x, y) {
			t.Fatalf("%q\n%q", x, y)
		}
	})
}
