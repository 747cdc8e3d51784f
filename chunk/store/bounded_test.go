package store

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// nearlyFull is a disk on which files can be made, and hardly anything be put into them, while it is told so.
type nearlyFull struct {
	disk.FS
	full atomic.Bool
}

type nearlyFullFile struct {
	disk.File
	d *nearlyFull
}

func (d *nearlyFull) Create(path string) (disk.File, error) {
	f, err := d.FS.Create(path)
	return nearlyFullFile{f, d}, err
}

func (f nearlyFullFile) Reserve(size int64) error {
	if f.d.full.Load() {
		return errDisk
	}
	return f.File.Reserve(size)
}

func (f nearlyFullFile) Write(b []byte) (int, error) {
	if f.d.full.Load() {
		return 0, errDisk
	}
	return f.File.Write(b)
}

func (s *Store) memtables() int {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	return len(s.tables)
}

// Writes that are tried again and again while the disk is full take no memory each, and nor do flushes.
func TestFullDiskTakesBoundedMemory(t *testing.T) {
	d := &nearlyFull{FS: disk.OS}
	s := open(t, t.TempDir(), Options{FS: d})
	defer s.Close()
	write := func(i int) error {
		return s.Append(t.Context(), one("m", series.Sample{T: int64(i), V: 1}))
	}
	d.full.Store(true)
	for i := range 200 {
		if err := write(i); !errors.Is(err, series.ErrUnavailable) {
			t.Fatalf("error %v", err)
		}
		_ = s.flushAll(t.Context()) // as Run does
	}
	if n := s.memtables(); n > mostWaiting+1 {
		t.Errorf("%d memtables after 200 writes that failed", n)
	}
	d.full.Store(false)
	for range 20 {
		if write(1000) == nil {
			break
		}
		_ = s.flushAll(t.Context())
	}
	if err := write(1001); err != nil {
		t.Fatalf("with room on the disk: %v", err)
	}
}

func TestFlushesThatFailTakeBoundedMemory(t *testing.T) {
	d := &nearlyFull{FS: disk.OS}
	s := open(t, t.TempDir(), Options{FS: d})
	defer s.Close()
	m := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	for i := range 50 {
		if err := s.Append(t.Context(), one("m", series.Sample{T: int64(i), V: 1})); err != nil {
			t.Fatal(err)
		}
		d.full.Store(true)
		var err error
		if i%2 == 0 {
			err = s.Flush(t.Context())
		} else {
			_, err = s.Delete(t.Context(), 0, math.MaxInt64, m)
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("error %v", err)
		}
		d.full.Store(false)
	}
	if n := s.memtables(); n > mostWaiting+1 {
		t.Errorf("%d memtables after 50 flushes that failed", n)
	}
}

// What outlives a memtable is bounded, so that it goes to the log again with each flush.
func TestMuchMetadataIsCarried(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	defer func() { s.Close() }()
	const families = 1200
	help := strings.Repeat("h", 64<<10)
	for first := 0; first < families; first += 600 {
		b := one("m", series.Sample{T: int64(first), V: 1})
		for i := range 600 {
			b.Metadata = append(b.Metadata, series.Metadata{Family: fmt.Sprint("f", first+i), Type: "gauge", Help: help})
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := len(slices.Collect(s.Metadata))
	if n < 1000 || n > 1024 {
		t.Errorf("%d families of 64 KiB are known, want 64 MiB", n)
	}
	if err := s.Append(t.Context(), &series.Batch{Metadata: []series.Metadata{{Family: "f1", Type: "gauge"}, {Family: "new", Type: "gauge", Help: help}}}); err != nil {
		t.Fatal(err)
	}
	if got := len(slices.Collect(s.Metadata)); got != n+1 {
		t.Errorf("%d families where one has made room for another, want %d", got, n+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if got := len(slices.Collect(s.Metadata)); got != n+1 {
		t.Errorf("%d families after a restart, want %d", got, n+1)
	}
}

// labelled is a batch of exemplars of a series that has 1.9 MB of labels.
func labelled(i, exemplars int) *series.Batch {
	value := strings.Repeat("v", 16<<10)
	ls := []string{"__name__", "m", "i", fmt.Sprint(i)}
	for j := range 120 {
		ls = append(ls, fmt.Sprint("l", j), value)
	}
	b := one("m", series.Sample{T: int64(i), V: 1})
	b.Series[0].Key = series.AppendKey(nil, labels.FromStrings(ls...))
	for k := range exemplars {
		b.Exemplars = append(b.Exemplars, series.Exemplar{Exemplar: exemplar.Exemplar{Labels: labels.FromStrings("trace", "x"), Value: float64(k), Ts: int64(i)}})
	}
	return b
}

func TestManyExemplarsAreCarried(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	for i := range 40 {
		if err := s.Append(t.Context(), labelled(i, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	n, all := 0, s.exemplars.all()
	for _, e := range all {
		n += int(e.labels.ByteSize())
	}
	if n > 64<<20 || len(all) < 30 || all[len(all)-1].Ts != 39 {
		t.Errorf("%d exemplars have series of %d bytes", len(all), n)
	}
}

// A batch that names series by their ids may have more keys to log than a record takes.
func TestManyKeysAreLogged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Exemplars: -1})
	defer func() { s.Close() }()
	const n = 5
	named := &series.Batch{}
	for i := range n {
		b := labelled(i, 0)
		named.IDs = append(named.IDs, series.HashKey(b.Series[0].Key))
		named.Series = append(named.Series, series.Entry{First: i, Count: 1})
		named.Samples = append(named.Samples, series.Sample{T: n, V: 1})
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), named); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range segments(t, dir) {
		_, _, err := wal.Scan(path, func(_ int64, typ wal.Type, rec []byte) error {
			if len(rec) > 3<<20 {
				t.Errorf("a record of %d bytes of %v", len(rec), typ)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, Options{})
	got, err := s.Aggregate(t.Context(), n, n, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	if err != nil || got.Count() != n {
		t.Errorf("%d samples, want %d: %v", got.Count(), n, err)
	}
}

// What leaves no samples in memory takes room in the log, too, and in the registry.
func TestWritesWithoutSamplesAreBounded(t *testing.T) {
	dir := t.TempDir()
	o := Options{WAL: wal.Options{SegmentSize: maxLog}}
	for _, b := range []*series.Batch{
		{Metadata: []series.Metadata{{Family: "m", Type: "gauge"}}},
		{Metadata: []series.Metadata{{Family: "n", Type: "gauge"}}},
	} {
		s := open(t, dir, o)
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, o)
	defer func() { s.Close() }()
	if err := errors.Join(s.freezeIfDue(), s.flushAll(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := len(segments(t, dir)); n > 1 {
		t.Errorf("%d segments of the log stay", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, o)
	if n := len(slices.Collect(s.Metadata)); n != 2 {
		t.Errorf("%d families, want 2", n)
	}

	s.refused.Store(true) // as when there are as many series as there may be
	named := one("named")
	if err := s.Append(t.Context(), named); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.freezeIfDue(), s.flushAll(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := s.active.registry.Count(); n != 0 {
		t.Errorf("%d series without samples stay in the registry", n)
	}
}
