package store

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

func everything() *labels.Matcher { return labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+") }

// counts are the samples of each series that a scan finds, by name.
func sampleCounts(t *testing.T, s *Store, ms ...*labels.Matcher) map[string]uint64 {
	t.Helper()
	sel, err := s.Scan(t.Context(), 0, 1<<62, ms...)
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Close()
	return countsOf(t, sel)
}

func countsOf(t *testing.T, sel *Selection) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	var b labels.ScratchBuilder
	var buf []byte
	for i := range sel.Len() {
		cs, err := sel.Chunks(nil, &buf, i, nil)
		if err != nil {
			t.Fatal(err)
		}
		name := sel.Labels(i, &b).Get("__name__")
		if _, twice := all[name]; twice {
			t.Fatalf("the series %s is there twice", name)
		}
		for _, c := range cs {
			all[name] += c.Samples
		}
	}
	return all
}

// A tenth of the series is replaced every ten minutes for a day: memory knows the recent ones only, readers that were
// open keep what they saw, and everything is found.
func TestIdleSeriesLeaveMemory(t *testing.T) {
	const active, replaced = 200, 20
	var clock atomic.Int64
	clock.Store(1_700_000_000_000)
	s := open(t, t.TempDir(), Options{Now: func() time.Time { return time.UnixMilli(clock.Load()) }})
	defer s.Close()
	want := map[string]uint64{}
	most := 0
	for step := range 24 * 6 {
		before, err := s.Scan(t.Context(), 0, 1<<62, everything())
		if err != nil {
			t.Fatal(err)
		}
		seen := countsOf(t, before)
		var b series.Batch
		for i := range active {
			name := fmt.Sprint("m", step*replaced+i)
			b.Series = append(b.Series, one(name).Series[0])
			last := &b.Series[i]
			last.First, last.Count = len(b.Samples), 10
			for minute := range int64(10) {
				b.Samples = append(b.Samples, series.Sample{T: clock.Load() + minute*60_000, V: float64(step)})
			}
			want[name] += 10
		}
		if err := s.Append(t.Context(), &b); err != nil || b.Rejected.Any() {
			t.Fatal(err, b.Rejected)
		}
		clock.Add(10 * 60_000)
		if err := s.freezeIfDue(); err != nil {
			t.Fatal(err)
		}
		most = max(most, s.Status(1).Series)
		if step%5 == 0 { // while two registries are in memory
			if got := sampleCounts(t, s, everything()); !maps.Equal(got, want) {
				t.Fatalf("step %d: %d series, want %d", step, len(got), len(want))
			}
		}
		if err := s.flushAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := countsOf(t, before) // it may see more: what came to its memtable since
		for name, n := range seen {
			if got[name] < n {
				t.Fatalf("step %d: an open reader sees %d samples of %s, and saw %d before", step, got[name], name, n)
			}
		}
		before.Close()
	}
	if most > 3*active {
		t.Errorf("memory knew %d series at once, of which %d were active", most, active)
	}
	if got := sampleCounts(t, s, everything()); !maps.Equal(got, want) {
		t.Errorf("%d series, want %d", len(got), len(want))
	}
}

// A full node refuses new series alone, says so, and takes new ones once old ones are idle.
func TestMaxSeries(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1_700_000_000_000)
	dir := t.TempDir()
	o := Options{MaxSeries: 3, Now: func() time.Time { return time.UnixMilli(clock.Load()) }}
	s := open(t, dir, o)
	write := func(names ...string) (refused int) {
		t.Helper()
		var b series.Batch
		for i, name := range names {
			b.Series = append(b.Series, one(name).Series[0])
			b.Series[i].First, b.Series[i].Count = i, 1
			b.Samples = append(b.Samples, series.Sample{T: clock.Load(), V: 1})
		}
		if err := s.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Series {
			if b.Series[i].Bad {
				refused++
			}
		}
		if n := b.Rejected.Reasons["max_series"]; n != refused {
			t.Errorf("%d samples are counted as refused, and %d were: %+v", n, refused, b.Rejected)
		}
		return refused
	}
	if n := write("a", "b"); n != 0 {
		t.Fatalf("%d were refused below the limit", n)
	}
	clock.Add(1000)
	if n := write("a", "c", "d", "b", "e", "c"); n != 2 {
		t.Fatalf("%d series were refused, want d and e", n)
	}
	want := map[string]uint64{"a": 2, "b": 2, "c": 1}
	if got := sampleCounts(t, s, everything()); !maps.Equal(got, want) {
		t.Fatalf("there is %v, want %v", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.MaxSeries = 2 // what was acknowledged is there even if there may be less from now on
	s = open(t, dir, o)
	defer func() { s.Close() }()
	if got := sampleCounts(t, s, everything()); !maps.Equal(got, want) {
		t.Fatalf("after a restart there is %v, want %v", got, want)
	}
	if n := write("f"); n != 1 {
		t.Fatal("a new series was taken over the limit")
	}
	clock.Add(2 * idleAfter)
	if n := write("a"); n != 0 {
		t.Fatal("a series was refused that is not new")
	}
	if err := s.freezeIfDue(); err != nil {
		t.Fatal(err)
	}
	if n := write("f"); n != 0 {
		t.Fatal("a new series was refused though old ones are idle")
	}
	want["a"]++
	want["f"]++
	if got := sampleCounts(t, s, everything()); !maps.Equal(got, want) {
		t.Fatalf("there is %v, want %v", got, want)
	}
}

// Writers that change their series all the time, readers and flushes at once.
func TestChurnWhileReading(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	var mu sync.Mutex
	acked := map[string]uint64{}
	var writers, rest sync.WaitGroup
	stop := make(chan struct{})
	for g := range 3 {
		writers.Go(func() {
			for i := range 200 {
				name := fmt.Sprintf("m%d_%d", g, i/3)
				if err := s.Append(t.Context(), one(name, series.Sample{T: int64(i) * 600_000, V: 1})); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[name]++
				mu.Unlock()
			}
		})
	}
	again := func(f func()) {
		rest.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	again(func() {
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
	again(func() {
		mu.Lock()
		before := maps.Clone(acked)
		mu.Unlock()
		got := sampleCounts(t, s, everything())
		for name, n := range before {
			if got[name] < n {
				t.Errorf("%s has %d samples, and %d were acknowledged", name, got[name], n)
			}
		}
	})
	writers.Wait()
	close(stop)
	rest.Wait()
	if got := sampleCounts(t, s, everything()); !maps.Equal(got, acked) {
		t.Errorf("there is %v, want %v", got, acked)
	}
}
