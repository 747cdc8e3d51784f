package cluster

import (
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
	"github.com/minitrue/minitrue/chunk/store"
)

const day = int64(24 * 60 * 60 * 1000)

// Where buckets stand for samples that are no longer kept, a cluster says as much as one store does.
func TestClusterOfBuckets(t *testing.T) {
	for _, row := range []struct{ nodes, replication int }{{3, 3}, {4, 2}} {
		t.Run(fmt.Sprint(row), func(t *testing.T) {
			t.Parallel()
			var now atomic.Int64
			clock := func() time.Time { return time.UnixMilli(now.Load()) }
			o := store.Options{Now: clock, Retention: 48 * time.Hour, Downsample: []store.Resolution{{Step: 5 * time.Minute, Retention: 96 * time.Hour}, {Step: time.Hour}}}
			c := newReadClusterOf(t, row.nodes, row.replication, ReaderOptions{Now: clock, Fresh: time.Hour}, o)
			whole := source{openStore(t, o)}
			start := 19_675 * day
			r := rand.New(rand.NewPCG(1, uint64(row.nodes)))
			for k := range int64(9) {
				now.Store(start + (k+1)*day + 3*60*60*1000)
				part := oneDay(r, start+k*day)
				appendTo(t, whole.Store, part)
				settled(t, whole.Store, k)
				for i, some := range c.divide(r, part, 0) {
					appendTo(t, c.nodes[i].store, some)
					settled(t, c.nodes[i].store, k)
				}
			}
			reader := c.nodes[0].reader
			for _, q := range []query{
				{math.MinInt64 / 2, math.MaxInt64 / 2, []*labels.Matcher{everything}},
				{start + day, start + 5*day, []*labels.Matcher{everything}},
				{start, start + 9*day, []*labels.Matcher{everything, labels.MustNewMatcher(labels.MatchEqual, "device_id", "d1"), labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")}},
			} {
				sameBuckets(t, whole, reader, q)
			}
		})
	}
}

func oneDay(r *rand.Rand, from int64) (out []written) {
	for d := range 4 {
		ls := labels.FromStrings("__name__", "m", "device_id", fmt.Sprint("d", d))
		for at := from; at < from+day; at += 120_000 {
			if r.IntN(10) > 0 {
				out = append(out, written{ls: ls, t: at, v: float64(r.IntN(1000)) / 10})
			}
		}
	}
	return out
}

func settled(t *testing.T, s *store.Store, k int64) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k == 3 || k == 8 {
		if err := s.CompactAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func sameBuckets(t *testing.T, whole source, reader *Reader, q query) {
	t.Helper()
	want, err := whole.Aggregate(t.Context(), q.mint, q.maxt, q.ms...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := reader.Aggregate(t.Context(), q.mint, q.maxt, q.ms...)
	if err == nil {
		err = sameStats(want, got)
	}
	if err != nil {
		t.Errorf("aggregate %s: %v", q, err)
	}
	ctx := series.AllowResolution(t.Context(), 60*60*1000)
	sel, err := reader.Scan(ctx, q.mint, q.maxt, q.ms...)
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Close()
	if !sel.Coarse() {
		t.Fatal("there are no buckets")
	}
	total := chunk.NoStats()
	for i := range sel.Len() {
		var buf []byte
		cs, err := sel.Chunks(nil, &buf, i, func(_ uint64, lo, hi int64) bool { return lo < q.mint || hi > q.maxt })
		if err != nil {
			t.Fatal(err)
		}
		one := chunk.NoStats()
		for _, c := range cs {
			if c.MaxTime <= q.maxt && (c.Data == nil || c.MinTime >= q.mint) {
				one.Add(c.Stats)
			}
		}
		total.AddSeries(one)
	}
	if q.mint < 0 {
		if err := sameStats(want, total); err != nil {
			t.Errorf("scan %s: %v", q, err)
		}
	}
	hints := &storage.SelectHints{Start: q.mint, End: q.maxt, Step: 60 * 60 * 1000, Range: 60 * 60 * 1000, Func: "sum_over_time"}
	if a, b := sumOf(t, whole, q, hints), sumOf(t, reader, q, hints); math.Abs(a-b) > 1e-9*math.Abs(a) {
		t.Errorf("select %s: the sum is %v, want %v", q, b, a)
	}
}

// sumOf adds up what sum_over_time would.
func sumOf(t *testing.T, s storage.Queryable, q query, hints *storage.SelectHints) (sum float64) {
	t.Helper()
	qr, err := s.Querier(q.mint, q.maxt)
	if err != nil {
		t.Fatal(err)
	}
	defer qr.Close()
	set := qr.Select(t.Context(), false, hints, q.ms...)
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			_, v := it.At()
			sum += v
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return sum
}

// Of buckets of several replicas those of one are used, and only before the first sample of any.
func TestBucketsOfOneReplica(t *testing.T) {
	bucket := func(lo, hi int64, n uint64) chunk.Chunk {
		s := chunk.NoStats()
		s.MinTime, s.MaxTime, s.Samples = lo, hi, n
		return chunk.Chunk{Stats: s, Encoding: chunk.Downsampled}
	}
	samples := func(lo, hi int64) chunk.Chunk {
		c := bucket(lo, hi, 2)
		c.Encoding = chunk.XOR
		return c
	}
	buckets, all := bucketsAndSamples([][]chunk.Chunk{
		{bucket(1, 5, 3), bucket(6, 9, 3), samples(11, 19)},
		{bucket(1, 9, 7), bucket(11, 15, 9), samples(16, 30)},
	})
	if len(buckets) != 1 || buckets[0].Samples != 7 || len(all) != 2 {
		t.Errorf("%d buckets %+v, %d chunks of samples", len(buckets), buckets, len(all))
	}
}
