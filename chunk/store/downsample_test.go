package store

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// aged is a store whose samples of the first thirty of forty days are kept in buckets only.
type aged struct {
	*Store
	start, end int64
	keys       []labels.Labels
	samples    [][]series.Sample
}

const dayMs = 24 * 3_600_000

func newAged(t *testing.T) *aged {
	t.Helper()
	a := &aged{start: 20_000 * dayMs, end: 20_040 * dayMs}
	var now atomic.Int64
	s, err := Open(t.TempDir(), Options{
		Retention: 10 * 24 * time.Hour, Downsample: []Resolution{{Step: 5 * time.Minute, Retention: 20 * 24 * time.Hour}, {Step: time.Hour}},
		Now: func() time.Time { return time.UnixMilli(now.Load()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	a.Store = s
	rng := rand.New(rand.NewPCG(4, 4))
	for i := range 3 {
		a.keys = append(a.keys, labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)))
		a.samples = append(a.samples, nil)
	}
	for day := int64(0); day < 40; day++ {
		now.Store(a.start + (day+1)*dayMs + 3*3_600_000)
		var b series.Batch
		for i, ls := range a.keys {
			first := len(b.Samples)
			for at := a.start + day*dayMs; at < a.start+(day+1)*dayMs; at += 60_000 {
				if rng.IntN(10) > 0 {
					b.Samples = append(b.Samples, series.Sample{T: at, V: float64(rng.IntN(1000)) / 10})
				}
			}
			b.Series = append(b.Series, series.Entry{Key: series.AppendKey(nil, ls), First: first, Count: len(b.Samples) - first})
			a.samples[i] = append(a.samples[i], b.Samples[first:]...)
		}
		if err := s.Append(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		if day%7 == 3 {
			if err := s.CompactAll(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.CompactAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	return a
}

// over applies f to the samples of series i in (from, to].
func (a *aged) over(i int, from, to int64, f func(v float64)) {
	for _, x := range a.samples[i] {
		if x.T > from && x.T <= to {
			f(x.V)
		}
	}
}

// Samples older than retention are gone, and everything that buckets can say of them is still said.
func TestBucketsOutliveSamples(t *testing.T) {
	a := newAged(t)
	all := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	want := chunk.NoStats()
	for i := range a.samples {
		one := chunk.NoStats()
		for _, x := range a.samples[i] {
			one.Observe(x.T, x.V)
		}
		want.AddSeries(one)
	}
	for _, m := range a.metas() {
		t.Logf("block of resolution %d from day %.2f to %.2f, %d samples", m.Resolution, float64(m.MinTime-a.start)/dayMs, float64(m.MaxTime-a.start)/dayMs, m.Samples)
		if m.Resolution == 0 && m.MinTime < a.end-27*dayMs || m.Resolution == 300_000 && m.MinTime < a.end-36*dayMs {
			t.Errorf("it is too old to be kept")
		}
	}
	got, err := a.Aggregate(context.Background(), math.MinInt64/2, math.MaxInt64/2, all)
	if err != nil {
		t.Fatal(err)
	}
	if got.Samples != want.Samples || got.Min != want.Min || got.Max != want.Max || math.Abs(got.Total()-want.Total()) > 1e-9*want.Total() {
		t.Errorf("of all samples %+v, want %+v", got, want)
	}
	// From a time within a bucket of an hour on: those count whole whose last sample is asked for.
	from := a.start + 5*dayMs
	n := uint64(0)
	for i := range a.samples {
		a.over(i, from, math.MaxInt64, func(float64) { n++ })
	}
	if got, err = a.Aggregate(context.Background(), from+1, math.MaxInt64/2, all); err != nil || got.Samples != n {
		t.Errorf("from an hour on %d samples, want %d, %v", got.Samples, n, err)
	}
	// Nobody else gets them unasked.
	q, err := a.Querier(a.start, a.start+dayMs)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, h := range []*storage.SelectHints{nil, {Start: a.start, End: a.start + dayMs}, {Start: a.start, End: a.start + dayMs, Step: 60_000}, {Start: a.start, End: a.start + dayMs, Step: 7_200_000, Range: 7_200_000, Func: "quantile_over_time"}} {
		if set := q.Select(context.Background(), false, h, all); set.Next() {
			t.Errorf("with hints %+v there are samples", h)
		}
	}
	asked := series.AllowResolution(context.Background(), 3_600_000)
	if set := q.Select(asked, false, &storage.SelectHints{Start: a.start, End: a.start + dayMs, Step: 60_000}, all); !set.Next() {
		t.Errorf("buckets that were asked for are not there: %v", set.Err())
	}
}

// What Prometheus's engine sees of an aligned window is what it saw of the samples, whichever blocks answer.
func TestBucketsAnswerAlignedWindows(t *testing.T) {
	a := newAged(t)
	all := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	const window = 6 * 3_600_000
	for _, f := range []string{"max_over_time", "min_over_time", "sum_over_time", "last_over_time"} {
		for _, end := range []int64{a.start + window, a.start + 9*dayMs, a.start + 19*dayMs + window, a.start + 31*dayMs, a.end} {
			q, err := a.Querier(end-window+1, end)
			if err != nil {
				t.Fatal(err)
			}
			set := q.Select(context.Background(), true, &storage.SelectHints{Start: end - window + 1, End: end, Step: window, Range: window, Func: f}, all)
			for i := range a.samples {
				if !set.Next() {
					t.Fatalf("%s until day %.2f: series %d is missing: %v", f, float64(end-a.start)/dayMs, i, set.Err())
				}
				want, got := reduce(f), reduce(f)
				a.over(i, end-window, end, want.add)
				it := set.At().Iterator(nil)
				for it.Next() != chunkenc.ValNone {
					_, v := it.At()
					got.add(v)
				}
				if math.Abs(want.v-got.v) > 1e-9*math.Abs(want.v) {
					t.Errorf("%s until day %.2f: %v, want %v", f, float64(end-a.start)/dayMs, got.v, want.v)
				}
			}
			_ = q.Close()
		}
	}
}

type reducer struct {
	f string
	v float64
	n int
}

func reduce(f string) *reducer { return &reducer{f: f} }

func (r *reducer) add(v float64) {
	r.n++
	switch {
	case r.f == "sum_over_time":
		r.v += v
	case r.n == 1, r.f == "last_over_time", r.f == "max_over_time" && v > r.v, r.f == "min_over_time" && v < r.v:
		r.v = v
	}
}

// Samples that came late, and that no flush has settled, change nothing of what buckets say.
func TestBucketsBesideLateSamples(t *testing.T) {
	a := newAged(t)
	ctx := context.Background()
	all := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	want := chunk.NoStats()
	for i, ls := range a.keys {
		// One of a minute that has none, in the middle of what is kept as samples, and one behind all.
		last := a.samples[i][len(a.samples[i])-1].T
		xs := []series.Sample{{T: last - 7_200_000 + 1, V: 5}, {T: last + 60_000, V: 6}}
		b := &series.Batch{Series: []series.Entry{{Key: series.AppendKey(nil, ls), Count: len(xs)}}, Samples: xs}
		if err := a.Append(ctx, b); err != nil {
			t.Fatal(err)
		}
		one := chunk.NoStats()
		for _, x := range append(a.samples[i], xs...) {
			one.Observe(x.T, x.V)
		}
		want.AddSeries(one)
	}
	got, err := a.Aggregate(ctx, math.MinInt64/2, math.MaxInt64/2, all)
	if err != nil {
		t.Fatal(err)
	}
	if got.Samples != want.Samples || got.Min != want.Min || got.Max != want.Max || math.Abs(got.Total()-want.Total()) > 1e-9*want.Total() {
		t.Errorf("of all samples %+v, want %+v", got, want)
	}
}
