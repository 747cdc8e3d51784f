package store

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// Buckets that could not be removed when others took their place do not come back beside them with the next start.
func TestBucketsThatStayAreNotDoubled(t *testing.T) {
	for op, end := range map[string]string{"rename": ".del", "syncdir": "blocks"} {
		now := time.UnixMilli(epoch).Add(72 * time.Hour)
		fs := &stumbling{FS: disk.OS}
		dir := t.TempDir()
		o := Options{FS: fs, Downsample: []Resolution{{Step: 5 * time.Minute}}, Now: func() time.Time { return now }}
		s := open(t, dir, o)
		defer func() { s.Close() }()
		write := func(at int64) {
			t.Helper()
			if err := errors.Join(s.Append(t.Context(), one("m", series.Sample{T: at, V: 1})), s.Flush(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		coarse := func() (ids []string) {
			for _, m := range s.metas() {
				if m.Resolution > 0 {
					ids = append(ids, m.ULID.String())
				}
			}
			return ids
		}
		write(epoch)
		write(now.UnixMilli())
		if err := s.CompactAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		write(epoch + 60_000)
		fs.op, fs.end = op, end
		if op == "rename" {
			fs.end = coarse()[0] + end
		}
		if err := s.CompactAll(t.Context()); !errors.Is(err, errDisk) {
			t.Fatalf("error %v", err)
		}
		write(epoch + 120_000)
		if err := s.CompactAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, o)
		if got := coarse(); len(got) != 1 {
			t.Errorf("%s fails: there are %d blocks of buckets, want 1", op, len(got))
		}
	}
}

// onSync calls f when the names in the folder of blocks are synced.
type onSync struct {
	disk.FS
	f func()
}

func (o onSync) SyncDir(path string) error {
	if filepath.Base(path) == "blocks" {
		o.f()
	}
	return o.FS.SyncDir(path)
}

// A log that fails when a flush carries over what outlives it is begun anew by the next flush or delete: no write may come.
func TestLogThatFailsInAFlushIsMended(t *testing.T) {
	for name, again := range map[string]func(s *Store) error{
		"flush": func(s *Store) error { return s.Flush(t.Context()) },
		"run":   func(s *Store) error { return s.flushInTime(t.Context()) },
		"delete": func(s *Store) error {
			_, err := s.Delete(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
			return err
		},
	} {
		log := &brittle{FS: disk.OS}
		s := open(t, t.TempDir(), Options{WAL: wal.Options{FS: log}, FS: onSync{disk.OS, func() { log.fail.Store(true) }}})
		defer s.Close()
		if err := s.Append(t.Context(), withExemplar(1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); !errors.Is(err, wal.ErrLost) {
			t.Fatalf("%s: error %v", name, err)
		}
		log.fail.Store(false)
		if err := again(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(segments(t, s.dir)); n != 1 {
			t.Errorf("%s: %d segments of the log are there", name, n)
		}
	}
}

// immovable is a disk on which some folders cannot be renamed, as long as it is told so.
type immovable struct {
	disk.FS
	end string // of their new names; "" for none
}

func (d *immovable) Rename(from, to string) error {
	if d.end != "" && strings.HasSuffix(to, d.end) {
		return errDisk
	}
	return d.FS.Rename(from, to)
}

// A block that cannot be removed does not keep those on the disk that retention allows no longer.
func TestRetentionBesideABlockThatStays(t *testing.T) {
	now := time.UnixMilli(epoch)
	fs := &immovable{FS: disk.OS}
	s := open(t, t.TempDir(), Options{FS: fs, Retention: 48 * time.Hour, Now: func() time.Time { return now }})
	defer s.Close()
	for day := range 10 {
		now = time.UnixMilli(epoch).Add(time.Duration(day) * 24 * time.Hour)
		if err := errors.Join(s.Append(t.Context(), one("m", series.Sample{T: now.UnixMilli(), V: 1})), s.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
		if day == 0 {
			fs.end = s.metas()[0].ULID.String() + ".del"
		}
		if err := s.Compact(t.Context()); (err != nil) != (day > 2) || err != nil && !errors.Is(err, errDisk) {
			t.Fatalf("day %d: error %v", day, err)
		}
	}
	if n := len(s.metas()); n > 3 {
		t.Errorf("%d blocks of a day each are left, and the retention is two days", n)
	}
	fs.end = ""
	if err := s.Compact(t.Context()); err != nil || len(s.left) > 0 {
		t.Errorf("when it can be removed: %v, left %q", err, s.left)
	}
}
