package chunk

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

func observe(t0 int64, vs []float64) Stats {
	s := NoStats()
	for i, v := range vs {
		s.Observe(t0+int64(i), v)
	}
	return s
}

// close tells whether two floats are the same but for what rounding may do to numbers of this size.
func closeTo(a, b, scale float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-12*scale
}

// However samples are cut into runs, and in whatever grouping these are added, the statistics are
// those of all samples.
func TestAddIsObserve(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		vs := make([]float64, rng.IntN(60))
		scale := 0.0
		for i := range vs {
			vs[i] = (rng.Float64() - 0.3) * math.Pow(10, float64(rng.IntN(12)))
			switch {
			case rng.IntN(8) == 0:
				vs[i] = stale
			case seed%5 == 0 && rng.IntN(30) == 0:
				vs[i] = []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}[rng.IntN(4)]
			}
			if v := math.Abs(vs[i]); v < math.MaxFloat64 {
				scale += v
			}
		}
		want := observe(100, vs)
		var runs []Stats
		for from := 0; from < len(vs); {
			to := min(len(vs), from+rng.IntN(10))
			runs = append(runs, observe(100+int64(from), vs[from:to]))
			from = to
		}
		for len(runs) > 1 { // add neighbours in random grouping
			i := rng.IntN(len(runs) - 1)
			runs[i].Add(runs[i+1])
			runs = append(runs[:i+1], runs[i+2:]...)
		}
		got := NoStats()
		for _, r := range runs {
			got.Add(r)
		}
		compareStats(t, seed, got, want, scale)
	}
}

func compareStats(t *testing.T, seed uint64, got, want Stats, scale float64) {
	t.Helper()
	if got.Samples != want.Samples || got.Stale != want.Stale || got.Samples > 0 && (got.MinTime != want.MinTime || got.MaxTime != want.MaxTime) {
		t.Fatalf("seed %d: %+v, want %+v", seed, got, want)
	}
	bits := math.Float64bits
	for _, p := range [][2]float64{{got.Min, want.Min}, {got.Max, want.Max}, {got.First, want.First}, {got.Last, want.Last}} {
		if bits(p[0]) != bits(p[1]) {
			t.Fatalf("seed %d: %+v, want %+v", seed, got, want)
		}
	}
	if !closeTo(got.Total(), want.Total(), scale) || !closeTo(got.Increase, want.Increase, scale) {
		t.Fatalf("seed %d: total %v, %+v, want %v, %+v", seed, got.Total(), got, want.Total(), want)
	}
}

func TestStats(t *testing.T) {
	nan, stale, inf := math.NaN(), math.Float64frombits(value.StaleNaN), math.Inf(1)
	rows := []struct {
		name                            string
		vs                              []float64
		count                           uint64
		sum, min, max, first, last, inc float64
	}{
		{"nothing", nil, 0, 0, nan, nan, nan, nan, 0},
		{"one", []float64{3}, 1, 3, 3, 3, 3, 3, 0},
		{"a gauge", []float64{3, -1, 2}, 3, 4, -1, 3, 3, 2, 2},
		{"a counter with a reset", []float64{5, 8, 2, 4}, 4, 19, 2, 8, 5, 4, 7},
		{"stale markers count for nothing", []float64{stale, 5, stale, 7, stale}, 2, 12, 5, 7, 5, 7, 2},
		{"only stale markers", []float64{stale, stale}, 0, 0, nan, nan, nan, nan, 0},
		{"NaN", []float64{nan, 1, 2}, 3, nan, 1, 2, nan, 2, nan},
		{"only NaN", []float64{nan, nan}, 2, nan, nan, nan, nan, nan, nan},
		{"what the sum rounds away", []float64{1e100, 1, -1e100}, 3, 1, -1e100, 1e100, 1e100, -1e100, 1 - 1e100},
		{"infinite", []float64{1, inf, 2}, 3, inf, 1, inf, 1, 2, inf},
	}
	for _, r := range rows {
		s := observe(0, r.vs)
		got := []float64{s.Total(), s.Min, s.Max, s.First, s.Last, s.Increase}
		for i, w := range []float64{r.sum, r.min, r.max, r.first, r.last, r.inc} {
			if !closeTo(got[i], w, 0) || s.Count() != r.count {
				t.Errorf("%s: statistic %d of %+v is %v, want %v", r.name, i, s, got[i], w)
			}
		}
	}
}

// Of histograms there are times and counts, however they are cut.
func TestHistogramStats(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	all, a, b := NoStats(), NoStats(), NoStats()
	for i, sum := range []float64{1, stale, 3, 4} {
		all.ObserveHistogram(int64(i), sum)
		if i < 2 {
			a.ObserveHistogram(int64(i), sum)
		} else {
			b.ObserveHistogram(int64(i), sum)
		}
	}
	a.Add(b)
	for _, s := range []Stats{all, a} {
		if s.Samples != 4 || s.Stale != 1 || s.MinTime != 0 || s.MaxTime != 3 {
			t.Fatalf("%+v", s)
		}
		for _, v := range []float64{s.Total(), s.Min, s.Max, s.First, s.Last, s.Increase} {
			if !math.IsNaN(v) {
				t.Fatalf("%+v", s)
			}
		}
	}
}

func TestAddSeries(t *testing.T) {
	a, b := observe(10, []float64{5, 7}), observe(5, []float64{1, 9, 8, 2, 3, 4, 6, 20})
	ab, ba := a, b
	ab.AddSeries(b)
	ba.AddSeries(a)
	for _, s := range []Stats{ab, ba} {
		if s.Count() != 10 || s.Total() != 65 || s.Min != 1 || s.Max != 20 || s.First != 1 || s.Last != 20 || s.MinTime != 5 || s.MaxTime != 12 {
			t.Fatalf("%+v", s)
		}
	}
}

// Many at once are as one after the other, to the last bit.
func TestObserveColumns(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		c := randomColumns(rng, 1+rng.IntN(100))
		if seed%2 == 0 {
			for i := range c.V {
				c.V[i] = math.Round(rng.NormFloat64()*1e6) / 1000
			}
		}
		want := NoStats()
		for i := range c.T {
			want.Observe(c.T[i], c.V[i])
		}
		got := NoStats()
		n := rng.IntN(len(c.T) + 1)
		got.ObserveColumns(Columns{c.T[:n], c.V[:n]})
		got.ObserveColumns(Columns{c.T[n:], c.V[n:]})
		compareStats(t, seed, got, want, 0)
		if math.Float64bits(got.comp) != math.Float64bits(want.comp) && !math.IsNaN(got.comp) {
			t.Fatalf("seed %d: compensation %v, want %v", seed, got.comp, want.comp)
		}
	}
}

func FuzzStatsFromBytes(f *testing.F) {
	s := NoStats()
	f.Add(s.AppendTo(nil))
	for i, v := range []float64{1, 1e100, 1, -1e100, math.Float64frombits(value.StaleNaN)} {
		s.Observe(int64(i), v)
	}
	f.Add(s.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, err := StatsFromBytes(b)
		if err != nil {
			return
		}
		again, left, err := StatsFromBytes(append(s.AppendTo(nil), rest...))
		if err != nil || !bytes.Equal(left, rest) || !bytes.Equal(again.AppendTo(nil), s.AppendTo(nil)) {
			t.Fatalf("%+v came back as %+v, %v", s, again, err)
		}
	})
}

func TestStatsKeepTheirCompensation(t *testing.T) {
	s := NoStats()
	for i, v := range []float64{1, 1e100, 1, -1e100} {
		s.Observe(int64(i), v)
	}
	got, rest, err := StatsFromBytes(append(s.AppendTo(nil), 7))
	if err != nil || len(rest) != 1 || got != s || got.Total() != 2 {
		t.Fatalf("%+v came back as %+v with %d bytes left, %v", s, got, len(rest), err)
	}
}
