package chunk

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk/series"
)

// digestsOf are the digests of chunks by window.
func digestsOf(t *testing.T, chunks []Chunk, mint, maxt int64) map[int64]series.Digest {
	t.Helper()
	var d Digester
	got := map[int64]series.Digest{}
	for _, c := range chunks {
		err := d.Chunk(series.ID{Hi: 1, Lo: 2}, c, mint, maxt, func(w int64, sum series.Digest) { got[w] = got[w].Plus(sum) })
		if err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// Digests are those of the samples, however they are encoded and cut.
func TestDigestsDoNotDependOnChunks(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 4))
		var samples []series.Sample
		at := r.Int64N(4*Span) - 2*Span
		for range 1 + r.IntN(3000) {
			at += 1 + r.Int64N(Span/100)
			samples = append(samples, series.Sample{T: at, V: math.Float64frombits(r.Uint64())})
		}
		mint := samples[0].T + r.Int64N(at-samples[0].T+1)
		maxt := mint + r.Int64N(at-mint+1)
		want := map[int64]series.Digest{}
		for _, s := range samples {
			if mint <= s.T && s.T <= maxt {
				want[Window(s.T)] = want[Window(s.T)].Plus(series.SampleDigest(series.ID{Hi: 1, Lo: 2}, s.T, s.V))
			}
		}
		head, err := Encode(nil, Slice(samples))
		if err != nil {
			t.Fatal(err)
		}
		cut := Rewriter{Window: 4 * Span}
		dense, err := cut.Append(nil, head)
		if err != nil {
			t.Fatal(err)
		}
		for _, chunks := range [][]Chunk{head, dense} {
			got := digestsOf(t, chunks, mint, maxt)
			if len(got) != len(want) {
				t.Fatalf("seed %d: %d windows, want %d", seed, len(got), len(want))
			}
			for w, d := range want {
				if got[w] != d {
					t.Fatalf("seed %d, window %d: %v, want %v", seed, w, got[w], d)
				}
			}
		}
	}
}

// A histogram has the digest that it has alone whatever lies in its chunk, where it may have got empty buckets.
func TestDigestsOfHistograms(t *testing.T) {
	id := series.ID{Hi: 1, Lo: 2}
	var d Digester
	var ints, floats Encoder
	var want, wantFloats series.Digest
	for i, h := range tsdbutil.GenerateTestHistograms(300) {
		switch i % 5 {
		case 1: // others have more buckets
			h.PositiveSpans, h.PositiveBuckets = []histogram.Span{{Offset: int32(i%4) - 1, Length: 2}}, h.PositiveBuckets[:2]
		case 2:
			h.NegativeSpans, h.NegativeBuckets = nil, nil
		case 3:
			h.CounterResetHint = histogram.GaugeType
		case 4:
			h = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
		}
		at := int64(i) * 1000
		f := h.ToFloat(nil)
		want = want.Plus(d.Histogram(id, series.Histogram{T: at, Int: h}))
		wantFloats = wantFloats.Plus(d.Histogram(id, series.Histogram{T: at, Float: f}))
		if err := ints.Histogram(at, h.Copy()); err != nil {
			t.Fatal(err)
		}
		if err := floats.FloatHistogram(at, f.Copy()); err != nil {
			t.Fatal(err)
		}
	}
	if got := digestsOf(t, ints.Chunks(), 0, Span-1)[0]; got != want {
		t.Errorf("digest %v in chunks, want %v", got, want)
	}
	if got := digestsOf(t, floats.Chunks(), 0, Span-1)[0]; got != wantFloats || got == want {
		t.Errorf("digest %v in chunks of floats, want %v", got, wantFloats)
	}
}

// Histograms have equal digests when they say the same, and others in all other cases.
func TestDigestsTellHistogramsApart(t *testing.T) {
	base := func() *histogram.FloatHistogram {
		return &histogram.FloatHistogram{
			Schema: 1, Count: 10, Sum: 20, ZeroThreshold: 0.001, ZeroCount: 1,
			PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}, {Offset: 3, Length: 1}}, PositiveBuckets: []float64{1, 2, 3},
			NegativeSpans: []histogram.Span{{Offset: 0, Length: 1}}, NegativeBuckets: []float64{4},
		}
	}
	rows := []struct {
		name   string
		same   bool
		change func(h *histogram.FloatHistogram)
	}{
		{"nothing", true, func(*histogram.FloatHistogram) {}},
		{"reset hint", true, func(h *histogram.FloatHistogram) { h.CounterResetHint = histogram.CounterReset }},
		{"spans joined by empty buckets", true, func(h *histogram.FloatHistogram) {
			h.PositiveSpans, h.PositiveBuckets = []histogram.Span{{Offset: 0, Length: 8}}, []float64{0, 1, 2, 0, 0, 0, 3, 0}
		}},
		{"spans without a bucket", true, func(h *histogram.FloatHistogram) {
			h.PositiveSpans = []histogram.Span{{Offset: 1, Length: 1}, {Offset: 0, Length: 1}, {Offset: 2, Length: 0}, {Offset: 1, Length: 1}}
		}},
		{"schema", false, func(h *histogram.FloatHistogram) { h.Schema = 2 }},
		{"count", false, func(h *histogram.FloatHistogram) { h.Count = 11 }},
		{"sum", false, func(h *histogram.FloatHistogram) { h.Sum = 21 }},
		{"zero threshold", false, func(h *histogram.FloatHistogram) { h.ZeroThreshold = 0.002 }},
		{"zero count", false, func(h *histogram.FloatHistogram) { h.ZeroCount = 2 }},
		{"bucket", false, func(h *histogram.FloatHistogram) { h.PositiveBuckets[1] = 5 }},
		{"bucket moved", false, func(h *histogram.FloatHistogram) { h.PositiveSpans[1].Offset = 4 }},
		{"signs swapped", false, func(h *histogram.FloatHistogram) {
			h.PositiveSpans, h.NegativeSpans = h.NegativeSpans, h.PositiveSpans
			h.PositiveBuckets, h.NegativeBuckets = h.NegativeBuckets, h.PositiveBuckets
		}},
		{"custom values", false, func(h *histogram.FloatHistogram) { h.CustomValues = []float64{1} }},
		{"stale", false, func(h *histogram.FloatHistogram) { h.Sum = math.Float64frombits(value.StaleNaN) }},
	}
	var d Digester
	of := func(h *histogram.FloatHistogram) series.Digest {
		return d.Histogram(series.ID{}, series.Histogram{Float: h})
	}
	for _, r := range rows {
		h := base()
		r.change(h)
		if same := of(h) == of(base()); same != r.same {
			t.Errorf("%s: equal is %v", r.name, same)
		}
		if c := compareHistograms(h, base()); (c == 0) != r.same || c != -compareHistograms(base(), h) {
			t.Errorf("%s: compared as %d", r.name, c)
		}
	}
}

func FuzzAppendHistogram(f *testing.F) {
	f.Add(int32(1), uint32(2), int32(3), uint32(1), 1.0, 0.0)
	f.Add(int32(math.MinInt32), uint32(math.MaxUint32), int32(math.MaxInt32), uint32(7), math.NaN(), 2.0)
	f.Fuzz(func(t *testing.T, o1 int32, l1 uint32, o2 int32, l2 uint32, a, b float64) {
		h := &histogram.FloatHistogram{PositiveSpans: []histogram.Span{{Offset: o1, Length: l1}, {Offset: o2, Length: l2}}, PositiveBuckets: []float64{a, b}}
		if x, y := appendHistogram(nil, h), appendHistogram(nil, h.Copy()); !slices.Equal(x, y) {
			t.Fatalf("%x and %x", x, y)
		}
	})
}

func BenchmarkDigester(b *testing.B) {
	c := denseOf(sensor(MaxDense))
	var d Digester
	for b.Loop() {
		if err := d.Chunk(series.ID{Hi: 1, Lo: 2}, c, math.MinInt64, math.MaxInt64, func(int64, series.Digest) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxDense), "ns/sample")
}
