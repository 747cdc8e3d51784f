package store

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// broad is a batch of a float histogram of so many buckets.
func broad(at int64, buckets int, value func(i int) float64) *series.Batch {
	h := &histogram.FloatHistogram{PositiveSpans: []histogram.Span{{Length: uint32(buckets)}}, PositiveBuckets: make([]float64, buckets)}
	for i := range h.PositiveBuckets {
		h.PositiveBuckets[i] = value(i)
		h.Count += h.PositiveBuckets[i]
	}
	b := one("m")
	b.Histograms = []series.Histogram{{T: at, Float: h}}
	return b
}

// Histograms of very many buckets are flushed, however many of them come one after the other.
func TestBroadHistogramsAreFlushed(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, 20_000)
	const n = 120
	for at := range int64(n) {
		if err := s.Append(t.Context(), broad(at*1000, len(values), func(i int) float64 {
			values[i] += rng.Float64()
			return values[i]
		})); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	q, err := s.Querier(0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	got := 0
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next() != 0; got++ {
		}
	}
	if got != n || set.Err() != nil {
		t.Errorf("%d histograms, want %d: %v", got, n, set.Err())
	}
}

// One that is larger than a chunk may be is refused alone.
func TestHistogramsThatAreTooLarge(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	b := broad(1, 2_200_000, func(i int) float64 { return math.Sqrt(float64(i)) })
	b.Histograms = append(b.Histograms, broad(2, 10, func(int) float64 { return 1 }).Histograms...)
	if err := s.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.Histograms) != 1 || b.Histograms[0].T != 2 || b.Rejected.Histograms != 1 || b.Rejected.Reasons["histogram_size"] != 1 {
		t.Errorf("%d histograms were accepted, and rejected %+v", len(b.Histograms), b.Rejected)
	}
}
