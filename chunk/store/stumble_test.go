package store

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/disk/powercut"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// stumbling is a disk of whose operations one fails once: create, rename (by the new name) or syncdir, of a path that ends so.
type stumbling struct {
	disk.FS
	op, end string // op is empty when nothing is to fail
}

func (s *stumbling) stumbles(op, path string) bool {
	if s.op != op || !strings.HasSuffix(path, s.end) {
		return false
	}
	s.op = ""
	return true
}

func (s *stumbling) Create(path string) (disk.File, error) {
	if s.stumbles("create", path) {
		return nil, errDisk
	}
	return s.FS.Create(path)
}

func (s *stumbling) Rename(from, to string) error {
	if s.stumbles("rename", to) {
		return errDisk
	}
	return s.FS.Rename(from, to)
}

func (s *stumbling) SyncDir(path string) error {
	if s.stumbles("syncdir", path) {
		return errDisk
	}
	return s.FS.SyncDir(path)
}

// clumsy is a store on a disk that stumbles when it is told to.
type clumsy struct {
	t   *testing.T
	dir string
	fs  *stumbling
	*Store
}

func newClumsy(t *testing.T) *clumsy {
	c := &clumsy{t: t, dir: t.TempDir(), fs: &stumbling{FS: disk.OS}}
	c.Store = open(t, c.dir, Options{FS: c.fs})
	t.Cleanup(func() { c.Close() })
	return c
}

func (c *clumsy) restart() {
	c.t.Helper()
	if err := c.Close(); err != nil {
		c.t.Fatal(err)
	}
	c.Store = open(c.t, c.dir, Options{FS: c.fs})
}

// must fails the test on an error, and on none where the disk stumbles.
func (c *clumsy) must(err error, stumbles bool) {
	c.t.Helper()
	if stumbles != errors.Is(err, errDisk) || !stumbles && err != nil {
		c.t.Fatalf("error %v; the disk stumbles: %v", err, stumbles)
	}
}

func (c *clumsy) append(at ...int64) {
	c.t.Helper()
	for _, t := range at {
		c.must(c.Append(c.t.Context(), one("m", series.Sample{T: t, V: 1})), false)
	}
}

func (c *clumsy) delete(stumbles bool) {
	c.t.Helper()
	_, err := c.Delete(c.t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	c.must(err, stumbles)
}

func (c *clumsy) wants(n uint64) {
	c.t.Helper()
	got, err := c.Aggregate(c.t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	if err != nil || got.Count() != n {
		c.t.Errorf("%d samples, want %d: %v", got.Count(), n, err)
	}
}

func countExemplars(ctx context.Context, t *testing.T, s *Store) int {
	t.Helper()
	q, err := s.ExemplarQuerier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := q.Select(0, math.MaxInt64, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range rs {
		n += len(r.Exemplars)
	}
	return n
}

func withExemplar(at int64) *series.Batch {
	b := one("m", series.Sample{T: at, V: 1})
	b.Exemplars = []series.Exemplar{{Exemplar: exemplar.Exemplar{Labels: labels.FromStrings("trace", "x"), Value: 1, Ts: at}}}
	return b
}

// A delete that is asked for again is done only when the log that has the samples, or the exemplars, is gone.
func TestDeletedIsGoneFromTheLog(t *testing.T) {
	c := newClumsy(t)
	c.append(1, 2)
	c.fs.op, c.fs.end = "create", filepath.Join("wal", wal.DropFile+".tmp")
	c.delete(true)
	c.delete(false)
	c.wants(0)
	c.restart()
	c.wants(0)

	c.must(c.Append(t.Context(), withExemplar(3)), false)
	c.must(c.Flush(t.Context()), false)
	c.fs.op, c.fs.end = "create", ".wal"
	c.delete(true)
	c.delete(false)
	c.restart()
	c.wants(0)
	if n := countExemplars(t.Context(), t, c.Store); n != 0 {
		t.Errorf("%d deleted exemplars are back", n)
	}
}

// A delete that failed half way hides nothing of what comes later, also after a restart.
func TestFailedDeleteHidesNothingLater(t *testing.T) {
	for _, makeBlock := range []func(c *clumsy) error{
		func(c *clumsy) error { return c.Flush(t.Context()) },
		func(c *clumsy) error { return errors.Join(c.Flush(t.Context()), c.CompactAll(t.Context())) },
	} {
		c := newClumsy(t)
		c.append(1)
		c.must(c.Flush(t.Context()), false)
		c.fs.op, c.fs.end = "syncdir", filepath.Base(c.dir)
		c.delete(true)
		c.append(2)
		c.must(makeBlock(c), false)
		c.restart()
		c.wants(2)
	}
}

// A block that could not be removed is opened again by the next start: what hides its samples is not forgotten.
func TestBlocksThatStayAreStillDeleted(t *testing.T) {
	for _, op := range []string{"rename", "syncdir"} {
		c := newClumsy(t)
		c.append(1, 2)
		c.must(c.Flush(t.Context()), false)
		c.delete(false)
		c.fs.op, c.fs.end = op, map[string]string{"rename": ".del", "syncdir": "blocks"}[op]
		c.must(c.CompactAll(t.Context()), true)
		c.must(c.CompactAll(t.Context()), false)
		c.restart()
		c.wants(0)
	}
}

// What memory has but the log may not have is stored once more by AppendMissing, when the log works again, too.
func TestAppendMissingDoesNotTrustALogThatFailed(t *testing.T) {
	fs := &brittle{FS: disk.OS}
	dir := t.TempDir()
	s := open(t, dir, Options{FS: fs})
	b := one("m", series.Sample{T: epoch, V: 1})
	fs.fail.Store(true)
	if err := s.Append(t.Context(), clone(b)); !errors.Is(err, series.ErrUnavailable) {
		t.Fatalf("the disk fails, and Append says %v", err)
	}
	fs.fail.Store(false)
	if err := s.Append(t.Context(), one("other", series.Sample{T: epoch, V: 1})); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendMissing(t.Context(), clone(b)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{FS: fs})
	defer s.Close()
	got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	if err != nil || got.Count() != 1 {
		t.Errorf("%d samples of the 1 that was said to be stored: %v", got.Count(), err)
	}
}

// afterPowerCut opens what is left of a store when the power is cut.
func afterPowerCut(t *testing.T, s *Store, d *powercut.Disk, seed uint64) *Store {
	t.Helper()
	d.Cut()
	rest := t.TempDir()
	if err := d.Remains(rand.New(rand.NewPCG(seed, 1)), rest); err != nil {
		t.Fatal(err)
	}
	_ = s.Close() // it has no disk any more
	return open(t, rest, Options{})
}

// The names of the folders are durable before anything is acknowledged, also when the start that made them was killed before they were.
func TestFoldersAreDurable(t *testing.T) {
	for seed := range uint64(20) {
		dir := t.TempDir()
		d, err := powercut.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"blocks", "wal"} {
			if err := d.Mkdir(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir, Options{FS: d})
		if err := s.Append(t.Context(), one("m", series.Sample{T: 1, V: 1})); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s = afterPowerCut(t, s, d, seed)
		got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
		if err != nil || got.Count() != 1 {
			t.Errorf("seed %d: after a power cut there are %d samples of 1: %v", seed, got.Count(), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What a flush carries from the old log into the new one is durable before the old one goes, whatever the log's interval.
func TestCarriedIsDurable(t *testing.T) {
	for seed := range uint64(20) {
		dir := t.TempDir()
		d, err := powercut.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{FS: d, WAL: wal.Options{Interval: time.Hour}})
		b := withExemplar(1)
		b.Metadata = []series.Metadata{{Family: "m", Help: "what it is"}}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s = afterPowerCut(t, s, d, seed)
		help := ""
		s.Metadata(func(m series.Metadata) bool { help += m.Help; return true })
		if n := countExemplars(t.Context(), t, s); n != 1 || help != "what it is" {
			t.Errorf("seed %d: after a power cut there are %d exemplars of 1, and metadata %q", seed, n, help)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
