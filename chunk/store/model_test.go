package store

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/disk/powercut"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
	"github.com/minitrue/minitrue/shard"
)

// model is a store in a map: what the real one must equal.
type model map[string]map[int64]float64

func (m model) add(key string, t int64, v float64) {
	if m[key] == nil {
		m[key] = map[int64]float64{}
	}
	if old, ok := m[key][t]; ok {
		v = chunk.Prefer(old, v)
	}
	m[key][t] = v
}

// world is a store, its model, and a seed's worth of chance.
type world struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	o     Options
	disk  *powercut.Disk // of dir
	s     *Store
	model model
	named []deletion // that were done by a name
	ids   int        // names that were used
	only  *shard.Set // the partitions that queries are limited to; nil: none
	clock int64
	now   atomic.Int64 // clock, as the store sees it
}

const epoch = 1_700_000_000_000 // ms

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir(), model: model{}, clock: epoch}
	w.o = Options{
		MemtableBytes: 1 << 20, WAL: wal.Options{SegmentSize: 1 << 14},
		Now: func() time.Time { return time.UnixMilli(w.now.Load()) },
	}
	w.pass(0)
	w.enter(w.dir)
	t.Cleanup(func() {
		_ = w.s.Close()
		*w = world{} // thousands of tests remember what they cleaned up
	})
	return w
}

// pass lets time (ms) go by.
func (w *world) pass(d int64) {
	w.clock += d
	w.now.Store(w.clock)
}

// enter goes on in another folder.
func (w *world) enter(dir string) {
	w.t.Helper()
	d, err := powercut.New(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.dir, w.disk, w.o.FS = dir, d, d
	w.open()
}

func (w *world) open() {
	w.t.Helper()
	s, err := Open(w.dir, w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.s = s
}

func (w *world) key(i int) []byte {
	return series.AppendKey(nil, labels.FromStrings("__name__", fmt.Sprint("m", i%3), "device_id", fmt.Sprint("d", i), "site", fmt.Sprint("s", i%2)))
}

func (w *world) labels(key string) labels.Labels {
	var b labels.ScratchBuilder
	ls, err := series.ParseKey([]byte(key), series.Limits{}, &b)
	if err != nil {
		w.t.Fatal(err)
	}
	return ls
}

func (w *world) value() float64 {
	switch w.r.IntN(10) {
	case 0:
		return math.Float64frombits(w.r.Uint64())
	case 1:
		return math.Float64frombits(value.StaleNaN)
	case 2:
		return math.NaN()
	}
	return float64(w.r.IntN(1000)) / 10
}

// append writes a batch.
func (w *world) append() {
	b := w.batch()
	if err := w.s.Append(w.t.Context(), b); err != nil || b.Rejected.Any() {
		w.t.Fatalf("append: %v, %+v", err, b.Rejected)
	}
	w.model.addAll(b)
}

func (m model) addAll(b *series.Batch) {
	for _, e := range b.Series {
		for _, s := range b.Samples[e.First : e.First+e.Count] {
			m.add(string(e.Key), s.T, s.V)
		}
	}
}

// batch is samples that are mostly in order, some late, some twice.
func (w *world) batch() *series.Batch {
	var b series.Batch
	w.pass(w.r.Int64N(20 * 60_000))
	for range 1 + w.r.IntN(20) {
		key := w.key(w.device())
		first := len(b.Samples)
		for range 1 + w.r.IntN(30) {
			t := w.clock + w.r.Int64N(60_000)
			switch w.r.IntN(12) {
			case 0:
				t -= w.r.Int64N(6 * 3600_000)
			case 1:
				t -= w.r.Int64N(30 * 24 * 3600_000)
			case 2:
				t = w.clock // likely again
			}
			b.Samples = append(b.Samples, series.Sample{T: t, V: w.value()})
		}
		b.Series = append(b.Series, series.Entry{Key: key, First: first, Count: len(b.Samples) - first})
	}
	return &b
}

// crash leaves the store behind as kill -9 would, and opens what the operating system has.
func (w *world) crash() {
	to := w.t.TempDir()
	if err := os.CopyFS(to, os.DirFS(w.dir)); err != nil {
		w.t.Fatal(err)
	}
	old := w.s
	w.enter(to)
	if err := old.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) restart() {
	if err := w.s.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) step() {
	ctx := w.t.Context()
	var err error
	switch n := w.r.IntN(26); {
	case n < 10:
		w.append()
	case n < 12:
		err = w.s.Flush(ctx)
	case n < 13:
		err = w.s.Compact(ctx)
	case n < 14:
		w.pass(3 * 3600_000) // ranges come to their end
	case n < 15:
		w.crash()
	case n < 16:
		w.restart()
	case n < 18:
		w.delete()
	case n < 19:
		err = w.s.CompactAll(ctx)
	case n < 20:
		w.snapshot()
	case n < 22:
		w.cutPower()
	default:
		w.query()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.digests()
}

// device is one of the twelve that there are at a time: they come and go.
func (w *world) device() int {
	return w.r.IntN(12) + int((w.clock-epoch)/(4*3600_000))
}

// delete deletes some time of some series, and often all of it. What was deleted by a name before is not deleted again.
func (w *world) delete() {
	if n := len(w.named); n > 0 && w.r.IntN(3) == 0 {
		x := w.named[w.r.IntN(n)]
		if n, err := w.deleteOnce(x); err != nil || n > 0 {
			w.t.Fatalf("%s was done again, for %d series: %v", x.id, n, err)
		}
		return
	}
	x := w.deletion()
	var err error
	if w.r.IntN(2) == 0 {
		_, err = w.deleteOnce(x)
		w.named = append(w.named, x)
	} else {
		_, err = w.s.Delete(w.t.Context(), x.mint, x.maxt, x.ms...)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.eachDeleted(x, func(key string, t int64) { delete(w.model[key], t) })
}

func (w *world) deleteOnce(x deletion) (int, error) {
	return w.s.DeleteOnce(w.t.Context(), x.id, x.mint, x.maxt, x.ms...)
}

// deletion is what a delete is asked to.
type deletion struct {
	id         string
	mint, maxt int64
	ms         []*labels.Matcher
}

func (w *world) deletion() deletion {
	mint := w.clock - w.r.Int64N(40*24*3600_000)
	maxt := mint + w.r.Int64N(w.clock+120_000-mint)
	ms := []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "device_id", fmt.Sprintf("d(%d|%d)", w.device(), w.device()))}
	if w.r.IntN(4) == 0 {
		mint, maxt = math.MinInt64, math.MaxInt64
	}
	w.ids++
	return deletion{fmt.Sprint("delete ", w.ids), mint, maxt, ms}
}

// eachDeleted calls f for what the model has of it.
func (w *world) eachDeleted(x deletion, f func(key string, t int64)) {
	for key, samples := range w.model {
		if !selects(x.ms, w.labels(key)) {
			continue
		}
		for t := range samples {
			if x.mint <= t && t <= x.maxt {
				f(key, t)
			}
		}
	}
}

// snapshot goes on with a snapshot in the place of the store.
func (w *world) snapshot() {
	dir, err := w.s.Snapshot(w.t.Context(), fmt.Sprint("s", w.r.Uint64()))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.s.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.enter(dir)
}

// query asks the same in every way there is, and compares with the model.
func (w *world) query() {
	mint := w.clock - w.r.Int64N(40*24*3600_000)
	maxt := mint + w.r.Int64N(w.clock+120_000-mint)
	if w.r.IntN(3) == 0 {
		mint, maxt = 0, math.MaxInt64
	}
	var ms []*labels.Matcher
	switch w.r.IntN(3) {
	case 0:
		ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, "device_id", fmt.Sprint("d", w.device())))
	case 1:
		ms = append(ms, labels.MustNewMatcher(labels.MatchRegexp, "__name__", "m[01]"), labels.MustNewMatcher(labels.MatchNotEqual, "site", "s1"))
	default:
		ms = append(ms, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	}
	if w.r.IntN(2) == 0 {
		w.only = w.someParts()
		defer func() { w.only = nil }()
		w.labelsOf(mint, maxt, ms)
	}
	want := w.expect(mint, maxt, ms)
	compareSamples(w.t, want, w.samples(mint, maxt, ms))
	compareSamples(w.t, want, w.chunks(mint, maxt, ms))
	w.aggregate(want, mint, maxt, ms)
}

// ctx is the context of a query.
func (w *world) ctx() context.Context {
	if w.only == nil {
		return w.t.Context()
	}
	return shard.Within(w.t.Context(), w.only)
}

// labelsOf asks for labels: those of series with samples are there, and none of series that are not asked for.
func (w *world) labelsOf(mint, maxt int64, ms []*labels.Matcher) {
	q, err := w.s.Querier(mint, maxt)
	if err != nil {
		w.t.Fatal(err)
	}
	defer q.Close()
	values, _, err := q.LabelValues(w.ctx(), "device_id", nil, ms...)
	if err != nil {
		w.t.Fatal(err)
	}
	names, _, err := q.LabelNames(w.ctx(), nil, ms...)
	if err != nil {
		w.t.Fatal(err)
	}
	may, must := map[string]bool{}, map[string]bool{}
	for key, samples := range w.model {
		ls := w.labels(key)
		if !selects(ms, ls) || !w.only.Has(shard.Partition(ls, "device_id")) {
			continue
		}
		may[ls.Get("device_id")] = true
		for t := range samples {
			if mint <= t && t <= maxt {
				must[ls.Get("device_id")] = true
			}
		}
	}
	for v := range must {
		if _, ok := slices.BinarySearch(values, v); !ok {
			w.t.Fatalf("the value %s is missing in %q", v, values)
		}
	}
	for i, v := range values {
		if !may[v] || i > 0 && values[i-1] >= v {
			w.t.Fatalf("the value %s is of no series that was asked for, or not sorted: %q", v, values)
		}
	}
	if all := []string{"__name__", "device_id", "site"}; len(must) > 0 != (len(names) > 0) && len(may) == 0 || len(names) > 0 && !slices.Equal(names, all) {
		w.t.Fatalf("names %q", names)
	}
}

func (w *world) expect(mint, maxt int64, ms []*labels.Matcher) map[string][]series.Sample {
	want := map[string][]series.Sample{}
	for key, samples := range w.model {
		ls := w.labels(key)
		if !selects(ms, ls) || w.only != nil && !w.only.Has(shard.Partition(ls, "device_id")) {
			continue
		}
		for t, v := range samples {
			if mint <= t && t <= maxt {
				want[ls.String()] = append(want[ls.String()], series.Sample{T: t, V: v})
			}
		}
	}
	for _, s := range want {
		slices.SortFunc(s, func(a, b series.Sample) int { return int(a.T - b.T) })
	}
	return want
}

func (w *world) samples(mint, maxt int64, ms []*labels.Matcher) map[string][]series.Sample {
	q, err := w.s.Querier(mint, maxt)
	if err != nil {
		w.t.Fatal(err)
	}
	defer q.Close()
	got := map[string][]series.Sample{}
	set := q.Select(w.ctx(), true, nil, ms...)
	var it chunkenc.Iterator
	var last labels.Labels
	for set.Next() {
		ls := set.At().Labels()
		if labels.Compare(last, ls) >= 0 {
			w.t.Fatalf("%v comes after %v", ls, last)
		}
		last = ls
		it = set.At().Iterator(it)
		if w.r.IntN(2) == 0 { // seeking finds what reading from the start finds
			at := mint + w.r.Int64N(max(1, min(maxt, w.clock)-mint))
			if it.Seek(at) != chunkenc.ValNone {
				t, _ := it.At()
				if t < at {
					w.t.Fatalf("sought %d and found %d", at, t)
				}
			}
			it = set.At().Iterator(it)
		}
		for it.Next() != chunkenc.ValNone {
			t, v := it.At()
			got[ls.String()] = append(got[ls.String()], series.Sample{T: t, V: v})
		}
		if it.Err() != nil {
			w.t.Fatal(it.Err())
		}
	}
	if set.Err() != nil {
		w.t.Fatal(set.Err())
	}
	return got
}

func (w *world) chunks(mint, maxt int64, ms []*labels.Matcher) map[string][]series.Sample {
	q, err := w.s.ChunkQuerier(mint, maxt)
	if err != nil {
		w.t.Fatal(err)
	}
	defer q.Close()
	got := map[string][]series.Sample{}
	set := q.Select(w.ctx(), true, &storage.SelectHints{Start: mint, End: maxt, DisableTrimming: true}, ms...)
	for set.Next() {
		name := set.At().Labels().String()
		end := int64(math.MinInt64)
		for cs := set.At().Iterator(nil); cs.Next(); {
			c := cs.At()
			if c.MinTime <= end {
				w.t.Fatalf("a chunk begins at %d, and the one before ends at %d", c.MinTime, end)
			}
			end = c.MaxTime
			for it := c.Chunk.Iterator(nil); it.Next() != chunkenc.ValNone; {
				if t, v := it.At(); mint <= t && t <= maxt {
					got[name] = append(got[name], series.Sample{T: t, V: v})
				}
			}
		}
	}
	if set.Err() != nil {
		w.t.Fatal(set.Err())
	}
	return got
}

func compareSamples(t *testing.T, want, got map[string][]series.Sample) {
	t.Helper()
	for name, samples := range want {
		if !slices.EqualFunc(samples, got[name], func(a, b series.Sample) bool {
			return a.T == b.T && math.Float64bits(a.V) == math.Float64bits(b.V)
		}) {
			t.Fatalf("%s: %d samples, want %d:\n%v\n%v", name, len(got[name]), len(samples), got[name], samples)
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Fatalf("%s has %d samples, want none", name, len(got[name]))
		}
	}
}

func (w *world) aggregate(want map[string][]series.Sample, mint, maxt int64, ms []*labels.Matcher) {
	got, err := w.s.Aggregate(w.ctx(), mint, maxt, ms...)
	if err != nil {
		w.t.Fatal(err)
	}
	n, nan, huge, most := uint64(0), false, 0.0, 0.0
	sum, lo, hi := 0.0, math.NaN(), math.NaN()
	for _, samples := range want {
		for _, s := range samples {
			if value.IsStaleNaN(s.V) {
				continue
			}
			n++
			if math.IsNaN(s.V) {
				nan = true
				continue
			}
			sum += s.V
			most += math.Abs(s.V)
			huge = max(huge, math.Abs(s.V))
			if !(lo <= s.V) {
				lo = s.V
			}
			if !(hi >= s.V) {
				hi = s.V
			}
		}
	}
	if got.Count() != n {
		w.t.Fatalf("count %d, want %d", got.Count(), n)
	}
	same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
	if !same(got.Min, lo) || !same(got.Max, hi) {
		w.t.Fatalf("min and max %v %v, want %v %v", got.Min, got.Max, lo, hi)
	}
	if math.IsInf(most, 0) {
		return // whether the sum overflows on its way depends on the order, which is any
	}
	if nan != math.IsNaN(got.Total()) {
		w.t.Fatalf("sum %v although NaN among the samples is %v", got.Total(), nan)
	}
	if !nan && math.Abs(got.Total()-sum) > huge*1e-9 {
		w.t.Fatalf("sum %v, want %v", got.Total(), sum)
	}
}

// Random operations leave the store equal to its model, whatever their order. For thousands of orders:
//
//	MINITRUE_SEEDS=3000 go test -race -timeout 0 -run EqualsAModel ./chunk/store
func TestStoreEqualsAModel(t *testing.T) {
	runs, steps := uint64(16), 60
	if testing.Short() {
		runs = 8
	}
	if s := os.Getenv("MINITRUE_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		runs = n
	}
	for seed := range runs {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			for range steps {
				w.step()
			}
			w.query()
			w.restart()
			w.query()
		})
	}
}

// Writers, readers, flushes and merges at once disturb each other in nothing.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t, 1)
	done := make(chan struct{})
	errs := make(chan error, 8)
	go func() {
		defer close(done)
		for range 300 {
			w.append()
		}
	}()
	for _, f := range []func() error{
		func() error { return w.s.Flush(t.Context()) },
		func() error { return w.s.Compact(t.Context()) },
		func() error {
			_, err := w.s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "site", "s1"))
			return err
		},
		func() error {
			q, err := w.s.Querier(0, math.MaxInt64)
			if err != nil {
				return err
			}
			defer q.Close()
			set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "site", "s0"))
			for set.Next() {
				for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
				}
			}
			return set.Err()
		},
	} {
		go func() {
			for {
				select {
				case <-done:
					errs <- nil
					return
				default:
					if err := f(); err != nil {
						errs <- err
						return
					}
				}
			}
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	w.query()
	if left, _ := filepath.Glob(filepath.Join(w.dir, "blocks", "*.tmp")); len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
}
