package chunk

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk/series"
)

// What is left of a chunk is every sample that lies in no interval, and no other.
func TestWithoutIntervals(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		ts, vs := randomSamples(rng, 1+rng.IntN(500))
		var gone []Interval
		for range rng.IntN(4) {
			a := ts[0] - 10 + rng.Int64N(ts[len(ts)-1]-ts[0]+20)
			gone = append(gone, Interval{a, a + rng.Int64N(ts[len(ts)-1]-ts[0]+1)})
		}
		c, _ := (&denseEncoder{}).encode(nil, ts, vs)
		var samples []series.Sample
		for i := range ts {
			samples = append(samples, series.Sample{T: ts[i], V: vs[i]})
		}
		xor, err := Encode(nil, Slice(samples))
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range [][]Chunk{{c}, xor} {
			var left Columns
			for _, c := range in {
				cut, err := Without(nil, c, gone)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range cut {
					if err := c.AppendTo(&left); err != nil {
						t.Fatal(err)
					}
				}
			}
			var want []int64
			for _, at := range ts {
				if !slices.ContainsFunc(gone, func(i Interval) bool { return i.Min <= at && at <= i.Max }) {
					want = append(want, at)
				}
			}
			if !slices.Equal(left.T, want) {
				t.Fatalf("seed %d: %d samples are left of %d without %v, want %d", seed, len(left.T), len(ts), gone, len(want))
			}
		}
	}
}

func TestWithoutHistogramsAndBuckets(t *testing.T) {
	var e Encoder
	for i := range int64(10) {
		if err := e.Histogram(i*1000, &histogram.Histogram{Count: uint64(i), Sum: float64(i), ZeroCount: uint64(i), ZeroThreshold: 0.001}); err != nil {
			t.Fatal(err)
		}
	}
	left, err := Without(nil, e.Chunks()[0], []Interval{{2000, 4000}, {9000, 9000}})
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, c := range left {
		it, err := c.Iterator(nil)
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() != chunkenc.ValNone {
			got = append(got, it.AtT())
		}
	}
	if want := []int64{0, 1000, 5000, 6000, 7000, 8000}; !slices.Equal(got, want) {
		t.Errorf("histograms at %v, want %v", got, want)
	}
	var buckets []Stats
	for i := range int64(10) {
		s := NoStats()
		s.Observe(i*10+3, 1)
		s.Observe(i*10+7, 2)
		buckets = append(buckets, s)
	}
	left, err = Without(nil, EncodeBuckets(nil, buckets, 10)[0], []Interval{{27, 33}, {48, 52}})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := left[0].AppendBuckets(nil)
	if err != nil || len(kept) != 8 || kept[2].MinTime != 43 {
		t.Errorf("%d buckets are left, %v: %+v", len(kept), err, kept)
	}
}
