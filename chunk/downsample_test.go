package chunk

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// sameStats compares statistics bit for bit, but sums and increases, whose additions may be in another order.
func sameStats(a, b Stats) bool {
	bits := func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) }
	near := func(x, y float64) bool {
		return bits(x, y) || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= 1e-12*math.Max(math.Abs(x), math.Abs(y))
	}
	nan := func(x, y float64) bool { return bits(x, y) || math.IsNaN(x) && math.IsNaN(y) }
	return a.MinTime == b.MinTime && a.MaxTime == b.MaxTime && a.Samples == b.Samples && a.Stale == b.Stale &&
		nan(a.Min, b.Min) && nan(a.Max, b.Max) && nan(a.First, b.First) && nan(a.Last, b.Last) && near(a.Total(), b.Total()) && near(a.Increase, b.Increase)
}

// randomSamples are times and values of a decimal walk with gaps, resets and stale markers.
func randomSamples(rng *rand.Rand, n int) (t []int64, v []float64) {
	at, x := rng.Int64N(4*Span)-2*Span, 100.0
	for range n {
		switch rng.IntN(40) {
		case 0:
			at += rng.Int64N(Span)
		case 1:
			x = 0
		}
		at += []int64{1, 1000, 10_000, 60_000, 300_000}[rng.IntN(5)]
		x += float64(rng.IntN(100)) / 10
		y := x
		switch rng.IntN(60) {
		case 0:
			y = math.Float64frombits(value.StaleNaN)
		case 1:
			y = math.NaN()
		}
		t, v = append(t, at), append(v, y)
	}
	return t, v
}

func TestBucketsAreOpenOnTheLeft(t *testing.T) {
	for _, c := range []struct{ t, end int64 }{
		{0, 0}, {1, 10}, {9, 10}, {10, 10}, {11, 20}, {-1, 0}, {-9, 0}, {-10, -10}, {-11, -10}, {-20, -20},
		{math.MaxInt64, math.MaxInt64}, {math.MinInt64 + 8, math.MinInt64 + 8},
	} {
		if got := BucketEnd(c.t, 10); got != c.end {
			t.Errorf("BucketEnd(%d, 10) = %d, want %d", c.t, got, c.end)
		}
	}
}

func TestDownsamplingIsWhatTheSamplesSay(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		ts, vs := randomSamples(rng, 1+rng.IntN(3000))
		resolution := []int64{10_000, 300_000, 3_600_000}[rng.IntN(3)]
		var want []Stats
		for i := range ts {
			if i == 0 || BucketEnd(ts[i], resolution) != BucketEnd(ts[i-1], resolution) {
				want = append(want, NoStats())
			}
			want[len(want)-1].Observe(ts[i], vs[i])
		}
		var chunks []Chunk
		for i := 0; i < len(ts); {
			n := min(1+rng.IntN(200), len(ts)-i)
			c, _ := (&denseEncoder{}).encode(nil, ts[i:i+n], vs[i:i+n])
			chunks = append(chunks, c)
			i += n
		}
		d := Downsampler{Resolution: resolution}
		got, err := d.Append(nil, chunks)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, sameStats) {
			t.Fatalf("seed %d: the buckets of %d samples are\n%v\nwant\n%v", seed, len(ts), got, want)
		}
		var back []Stats
		packed := EncodeBuckets(nil, got, resolution)
		for _, c := range packed {
			if back, err = c.AppendBuckets(back); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if !slices.EqualFunc(back, got, sameStats) {
			t.Fatalf("seed %d: buckets changed in a chunk", seed)
		}
		coarse, fine := Downsampler{Resolution: 12 * resolution}, Downsampler{Resolution: 12 * resolution}
		a, err := coarse.Append(nil, packed)
		if err != nil {
			t.Fatal(err)
		}
		b, err := fine.Append(nil, chunks)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(a, b, sameStats) {
			t.Fatalf("seed %d: buckets of buckets are not the buckets of the samples", seed)
		}
	}
}

func FuzzDecodeDownsampled(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	d := Downsampler{Resolution: 300_000}
	ts, vs := randomSamples(rng, 500)
	c, _ := (&denseEncoder{}).encode(nil, ts, vs)
	buckets, _ := d.Append(nil, []Chunk{c})
	for _, c := range EncodeBuckets(nil, buckets, d.Resolution) {
		f.Add(c.Times, c.Data, c.MinTime, c.MaxTime)
	}
	f.Fuzz(func(t *testing.T, times, data []byte, minT, maxT int64) {
		c := Chunk{Encoding: Downsampled, Times: times, Data: data}
		c.MinTime, c.MaxTime = minT, maxT
		got, err := c.AppendBuckets(nil)
		if err != nil {
			return
		}
		if len(got) == 0 || len(got) > maxBuckets || got[0].MinTime != minT || got[len(got)-1].MaxTime != maxT {
			t.Fatalf("%d buckets from %d to %d", len(got), minT, maxT)
		}
	})
}
