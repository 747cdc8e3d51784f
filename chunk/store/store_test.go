package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func one(key string, samples ...series.Sample) *series.Batch {
	k := series.AppendKey(nil, labels.FromStrings("__name__", key))
	return &series.Batch{Series: []series.Entry{{Key: k, Count: len(samples)}}, Samples: samples}
}

// brittle is a disk that fails while it is told to.
type brittle struct {
	disk.FS
	fail atomic.Bool
}

type brittleFile struct {
	disk.File
	b *brittle
}

var errDisk = errors.New("no space left on device")

func (b *brittle) Create(path string) (disk.File, error) {
	if b.fail.Load() {
		return nil, errDisk
	}
	f, err := b.FS.Create(path)
	return brittleFile{f, b}, err
}

func (f brittleFile) Reserve(size int64) error {
	if f.b.fail.Load() {
		return errDisk
	}
	return f.File.Reserve(size)
}

func (f brittleFile) Sync() error {
	if f.b.fail.Load() {
		return errDisk
	}
	return f.File.Sync()
}

// While the log cannot be written, nothing is acknowledged and reads go on; afterwards writes go on by
// themselves, and all that was acknowledged survives the next start, series that were new in between too.
func TestFailingDiskLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	brittle := &brittle{FS: disk.OS}
	o := Options{FS: brittle}
	s := open(t, dir, o)
	acked := map[string]int{}
	var mu sync.Mutex
	write := func(name string, i int) error {
		err := s.Append(t.Context(), one(name, series.Sample{T: int64(i), V: float64(i)}))
		if err == nil {
			mu.Lock()
			acked[name]++
			mu.Unlock()
		} else if !errors.Is(err, series.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		return err
	}
	for i := range 60 {
		brittle.fail.Store(i%20 >= 10 && i < 50)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				_ = write(fmt.Sprint("old", g), i)
				_ = write(fmt.Sprintf("new%d_%d", g, i), i)
			})
		}
		wg.Wait()
		if brittle.fail.Load() {
			if err := write("refused", i); err == nil {
				t.Fatal("a write was acknowledged that the disk refused")
			}
			if got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "old1")); err != nil || got.Count() == 0 {
				t.Fatalf("reads do not go on: %v, %v", got, err)
			}
		}
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, o)
		for name, n := range acked {
			got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", name))
			if err != nil || got.Count() < uint64(n) {
				t.Fatalf("%s: %d samples of %d, %v", name, got.Count(), n, err)
			}
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTheFolderIsLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("a second store opened: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
}

// What lives beside samples survives flushes and restarts as they do.
func TestHistogramsExemplarsAndMetadataSurvive(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	k := series.AppendKey(nil, labels.FromStrings("__name__", "h"))
	var want []string
	for i, h := range tsdbutil.GenerateTestHistograms(20) {
		b := &series.Batch{
			Series:     []series.Entry{{Key: k}},
			Histograms: []series.Histogram{{T: int64(i) * 1000, Int: h}},
			Exemplars:  []series.Exemplar{{Exemplar: exemplar.Exemplar{Labels: labels.FromStrings("trace", fmt.Sprint(i)), Value: 1, Ts: int64(i), HasTs: true}}},
			Metadata:   []series.Metadata{{Family: "h", Type: "histogram", Unit: "seconds", Help: "times"}},
		}
		if i%2 == 1 {
			b.Histograms[0] = series.Histogram{T: int64(i) * 1000, Float: h.ToFloat(nil)}
		}
		want = append(want, h.ToFloat(nil).String())
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		switch i {
		case 5, 12:
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 8, 15:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, Options{})
		}
	}
	defer s.Close()
	q, err := s.Querier(0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "h"))
	if !set.Next() {
		t.Fatal("no series")
	}
	it := set.At().Iterator(nil)
	for i := range want {
		if it.Next() == chunkenc.ValNone {
			t.Fatalf("%d histograms, want %d: %v", i, len(want), it.Err())
		}
		ts, h := it.AtFloatHistogram(nil)
		h.CounterResetHint = histogram.UnknownCounterReset
		if ts != int64(i)*1000 || h.String() != want[i] {
			t.Fatalf("at %d: %v, want %v", ts, h, want[i])
		}
	}
	eq, err := s.ExemplarQuerier(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	res, err := eq.Select(0, 100, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "h")})
	if err != nil || len(res) != 1 || len(res[0].Exemplars) != len(want) {
		t.Fatalf("exemplars %v, %v", res, err)
	}
	n := 0
	for m := range s.Metadata {
		n++
		if m.Help != "times" || m.Unit != "seconds" {
			t.Fatalf("metadata %+v", m)
		}
	}
	if n != 1 {
		t.Fatalf("%d families", n)
	}
}

// A damaged block is set aside, and everything else goes on.
func TestDamagedBlockIsQuarantined(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for i, name := range []string{"a", "b"} {
		if err := s.Append(t.Context(), one(name, series.Sample{T: int64(i), V: 1})); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	metas, _ := filepath.Glob(filepath.Join(dir, "blocks", "*", "meta.json"))
	if len(metas) != 2 {
		t.Fatalf("blocks %q", metas)
	}
	if err := os.WriteFile(metas[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	defer s.Close()
	got, err := s.Aggregate(t.Context(), 0, 10, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	if err != nil || got.Count() != 1 {
		t.Fatalf("count %d, %v", got.Count(), err)
	}
	if q, _ := filepath.Glob(filepath.Join(dir, "quarantine", "*", "meta.json")); len(q) != 1 {
		t.Fatalf("quarantine %q", q)
	}
}

func TestRetention(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	s := open(t, t.TempDir(), Options{Retention: 24 * time.Hour, Now: func() time.Time { return now }})
	defer s.Close()
	for _, age := range []time.Duration{time.Minute, 23 * time.Hour, 30 * time.Hour} {
		if err := s.Append(t.Context(), one("m", series.Sample{T: now.Add(-age).UnixMilli(), V: 1})); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	if err != nil || got.Count() != 2 {
		t.Fatalf("count %d, %v", got.Count(), err)
	}
}

// A clock that jumps a year ahead takes nothing away, and one that jumps back keeps nothing from being flushed.
func TestClockJumps(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	now := start
	s := open(t, t.TempDir(), Options{Retention: 24 * time.Hour, Now: func() time.Time { return now }})
	defer s.Close()
	want := uint64(0)
	write := func(ages ...time.Duration) {
		t.Helper()
		for _, age := range ages {
			if err := s.Append(t.Context(), one("m", series.Sample{T: start.Add(-age).UnixMilli(), V: 1})); err != nil {
				t.Fatal(err)
			}
			want++
		}
	}
	check := func(when string) {
		t.Helper()
		got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
		if err != nil || got.Count() != want {
			t.Errorf("%s there are %d samples of %d, %v", when, got.Count(), want, err)
		}
	}
	write(20*time.Hour, 10*time.Hour)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(time.Minute)
	for _, jump := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour, 0} {
		now = start.Add(jump)
		if err := s.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("after a jump of %v", jump))
	}
	now = start.Add(-time.Hour)
	if s.due() {
		t.Error("a memtable is flushed early")
	}
	if now = now.Add(s.o.FlushAge); !s.due() {
		t.Error("a memtable is not flushed after its time, since the clock was ahead")
	}
	now = start
	write(-4*time.Hour - 30*time.Minute) // of the first three, one is too old then
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = start.Add(365 * 24 * time.Hour)
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	want--
	check("when newer ones have come")
}

// Bad series are refused one by one, and the good ones beside them stored.
func TestBadSeriesAreRefusedAlone(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	b := one("good", series.Sample{T: 1, V: 1})
	b.Series = append(b.Series, series.Entry{Key: series.AppendLabel(nil, "job", "x"), First: 1, Count: 2})
	b.Samples = append(b.Samples, series.Sample{T: 1, V: 1}, series.Sample{T: 2, V: 2})
	b.Exemplars = []series.Exemplar{{Series: 1}}
	if err := s.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if r := b.Rejected; r.Samples != 2 || r.Exemplars != 1 || r.Reasons["metric_name_missing"] == 0 {
		t.Fatalf("rejected %+v", r)
	}
	got, err := s.Aggregate(t.Context(), 0, 10, labels.MustNewMatcher(labels.MatchNotEqual, "x", "y"))
	if err != nil || got.Count() != 1 {
		t.Fatalf("count %d, %v", got.Count(), err)
	}
}

// Series that are active can be named by their ids alone, also after a restart; when one is not, nothing of the batch is stored.
func TestSeriesByID(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	defer func() { s.Close() }()
	all := labels.MustNewMatcher(labels.MatchNotEqual, "x", "y")
	byID := func(from int64, keys ...string) *series.Batch {
		b := &series.Batch{}
		for i, key := range keys {
			b.Series = append(b.Series, series.Entry{First: i, Count: 1})
			b.Samples = append(b.Samples, series.Sample{T: from + int64(i), V: 1})
			b.IDs = append(b.IDs, series.HashKey(series.AppendLabel(nil, "__name__", key)))
		}
		return b
	}
	if err := s.Append(t.Context(), one("a", series.Sample{T: 1, V: 1})); err != nil {
		t.Fatal(err)
	}
	mixed := byID(2, "a", "b")
	mixed.Series[1].Key = series.AppendLabel(nil, "__name__", "b") // this one has its key
	if err := s.Append(t.Context(), mixed); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, Options{})
	if err := s.Append(t.Context(), byID(10, "a", "c", "b")); !errors.Is(err, series.ErrUnknownSeries) {
		t.Fatalf("error %v", err)
	}
	if err := s.Append(t.Context(), byID(20, "b", "a")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, Options{})
	got, err := s.Aggregate(t.Context(), 0, 100, all)
	if err != nil || got.Count() != 5 {
		t.Fatalf("count %d, %v", got.Count(), err)
	}
}

// The background work flushes a full memtable and drops its log without being asked.
func TestRunFlushesWhatIsFull(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{MemtableBytes: 1 << 20, WAL: wal.Options{SegmentSize: 1 << 16}})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	for i := range 400 {
		b := &series.Batch{}
		for j := range 500 {
			b.Series = append(b.Series, series.Entry{Key: series.AppendKey(nil, labels.FromStrings("__name__", fmt.Sprint("m", j))), First: j, Count: 1})
			b.Samples = append(b.Samples, series.Sample{T: int64(i) * 1000, V: float64(i*j) * 1.1})
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s.gate.RLock()
		bytes := s.active.Bytes()
		s.gate.RUnlock()
		if st := s.Status(1); st.Blocks > 0 && bytes < 1<<20 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no flush: %+v", s.Status(1))
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchNotEqual, "x", "y"))
	if err != nil || got.Count() != 200_000 {
		t.Fatalf("count %d, %v", got.Count(), err)
	}
	if first, _ := os.Stat(filepath.Join(dir, "wal", "000000000001.wal")); first != nil {
		t.Fatal("the log of a flushed memtable is still there")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// While blocks cannot be written, the log takes what memory holds, and then writes are refused rather than
// lost or kept waiting; afterwards all goes on.
func TestFlushThatFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{MemtableBytes: 1 << 20})
	blocks, away := filepath.Join(dir, "blocks"), filepath.Join(dir, "away")
	if err := errors.Join(os.Rename(blocks, away), os.WriteFile(blocks, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	n := uint64(0)
	write := func() error {
		b := &series.Batch{}
		for j := range 1000 {
			b.Series = append(b.Series, series.Entry{Key: series.AppendKey(nil, labels.FromStrings("__name__", fmt.Sprint("m", j))), First: j, Count: 1})
			b.Samples = append(b.Samples, series.Sample{T: int64(n) * 1000, V: float64(n) * 1.1 * float64(j)})
		}
		err := s.Append(t.Context(), b)
		if err == nil {
			n += 1000
		}
		return err
	}
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		err = write()
	}
	if !errors.Is(err, series.ErrUnavailable) {
		t.Fatalf("error %v after %d samples", err, n)
	}
	if err := errors.Join(os.Remove(blocks), os.Rename(away, blocks)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err := write(); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchNotEqual, "x", "y"))
	if err != nil || got.Count() != n {
		t.Fatalf("count %d of %d, %v", got.Count(), n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s, err := Open(dir, Options{})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	key := series.AppendKey(nil, labels.FromStrings("__name__", "temperature", "device_id", "d1"))
	err = s.Append(context.Background(), &series.Batch{
		Series:  []series.Entry{{Key: key, Count: 2}},
		Samples: []series.Sample{{T: 1000, V: 20.5}, {T: 2000, V: 21.5}},
	})
	if err != nil {
		panic(err)
	}
	stats, err := s.Aggregate(context.Background(), 0, 5000, labels.MustNewMatcher(labels.MatchEqual, "device_id", "d1"))
	fmt.Println(stats.Count(), stats.Total(), stats.Max, err)
	// Output: 2 42 21.5 <nil>
}
