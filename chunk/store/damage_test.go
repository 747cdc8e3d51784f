package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/compact"
	"github.com/minitrue/minitrue/chunk/series"
)

// journal keeps what is logged.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), s)
}

// damagedStore is an open store of two blocks, of one sample each of the series a and b; a bit of the older block's file has flipped
// since it was opened.
func damagedStore(t *testing.T, file string) (s *Store, bad string, log *journal) {
	t.Helper()
	log = &journal{}
	var now atomic.Int64
	now.Store(epoch)
	s = open(t, t.TempDir(), Options{
		CacheBytes: 1, Logger: slog.New(slog.NewTextHandler(log, nil)), Now: func() time.Time { return time.UnixMilli(now.Load()) },
		Compact: compact.Options{Force: true}, CompactDuty: 1,
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range int64(2) {
		for _, name := range []string{"a", "b"} {
			if err := s.Append(t.Context(), one(name, series.Sample{T: i * chunk.Span, V: float64(i)})); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	now.Add(2000) // what was verified is not believed for ever
	bad = s.blocks[0].Dir()
	flip(t, filepath.Join(bad, file), 8*40)
	return s, bad, log
}

// flip flips a bit of a file.
func flip(t *testing.T, path string, bit int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], bit/8); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(b[:], bit/8); err != nil {
		t.Fatal(err)
	}
}

var every = labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")

// encounters are the ways to meet a damaged block.
var encounters = map[string]func(context.Context, *Store) error{
	"select": func(ctx context.Context, s *Store) error {
		q, err := s.Querier(0, math.MaxInt64)
		if err != nil {
			return err
		}
		defer q.Close()
		set := q.Select(ctx, false, nil, every)
		for set.Next() {
		}
		return set.Err()
	},
	"select chunks": func(ctx context.Context, s *Store) error {
		q, err := s.ChunkQuerier(0, math.MaxInt64)
		if err != nil {
			return err
		}
		defer q.Close()
		set := q.Select(ctx, false, nil, every)
		for set.Next() {
		}
		return set.Err()
	},
	"aggregate": func(ctx context.Context, s *Store) error {
		_, err := s.Aggregate(ctx, 0, math.MaxInt64, every)
		return err
	},
	"scan": func(ctx context.Context, s *Store) error {
		sel, err := s.Scan(ctx, 0, math.MaxInt64, every)
		if err != nil {
			return err
		}
		defer sel.Close()
		var buf []byte
		var errs []error
		for i := range sel.Len() {
			_, err := sel.Chunks(nil, &buf, i, nil)
			errs = append(errs, err)
		}
		return errors.Join(append(errs, sel.Err())...)
	},
	"label values": func(ctx context.Context, s *Store) error {
		q, err := s.Querier(0, math.MaxInt64)
		if err != nil {
			return err
		}
		defer q.Close()
		_, _, err = q.LabelValues(ctx, "__name__", nil, every)
		return err
	},
	"merge": func(ctx context.Context, s *Store) error { return s.CompactAll(ctx) },
	"delete": func(ctx context.Context, s *Store) error {
		_, err := s.Delete(ctx, 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchRegexp, "__name__", "not.+there"))
		return err
	},
}

// A block whose samples turn out to be damaged is set aside once, whoever meets it, and the rest is served.
func TestDamageThatIsMetSetsTheBlockAside(t *testing.T) {
	for _, name := range []string{"select", "select chunks", "aggregate", "scan", "merge"} {
		t.Run(name, func(t *testing.T) {
			s, bad, log := damagedStore(t, block.ChunksFile)
			err := encounters[name](t.Context(), s)
			var damage *block.CorruptError
			if name != "merge" && !errors.As(err, &damage) {
				t.Fatalf("the query that met it: %v", err)
			}
			if name == "merge" && err != nil {
				t.Fatal(err)
			}
			for again, do := range encounters {
				if err := do(t.Context(), s); err != nil {
					t.Errorf("%s after it: %v", again, err)
				}
			}
			if got := testutil.ToFloat64(s.m.quarantined); got != 1 || log.count("set aside") != 1 {
				t.Errorf("%v blocks set aside, %d lines in the log", got, log.count("set aside"))
			}
			if log.count("file="+block.ChunksFile) != 1 || log.count("offset=4 ") != 1 {
				t.Errorf("the log does not name the place:\n%s", &log.buf)
			}
			aside := filepath.Join(s.dir, "quarantine", filepath.Base(bad))
			if got := s.Status(1).Quarantine; !slices.Equal(got, []string{aside}) || exists(bad) {
				t.Errorf("set aside are %q, want %s", got, aside)
			}
			if st, err := s.Aggregate(t.Context(), 0, math.MaxInt64, every); err != nil || st.Count() != 2 || st.Total() != 2 {
				t.Errorf("%v samples, %v, %v", st.Count(), st.Total(), err)
			}
		})
	}
}

// A block whose index turns out to be damaged goes on with a new one, and nothing is missing.
func TestDamageToAnOpenIndexIsMended(t *testing.T) {
	for name, meet := range encounters {
		t.Run(name, func(t *testing.T) {
			s, _, log := damagedStore(t, block.IndexFile)
			err := meet(t.Context(), s)
			var damage *block.CorruptError
			if inside := name == "merge" || name == "delete"; inside && err != nil || !inside && !errors.As(err, &damage) {
				t.Fatalf("who met it: %v", err)
			}
			for again, do := range encounters {
				if err := do(t.Context(), s); err != nil {
					t.Errorf("%s after it: %v", again, err)
				}
			}
			if testutil.ToFloat64(s.m.quarantined) != 0 || testutil.ToFloat64(s.m.reindexed) != 1 || log.count("file=index offset=0 ") != 1 {
				t.Errorf("%v set aside; the log:\n%s", testutil.ToFloat64(s.m.quarantined), &log.buf)
			}
			if st, err := s.Aggregate(t.Context(), 0, math.MaxInt64, every); err != nil || st.Count() != 4 || st.Total() != 2 {
				t.Errorf("%v samples, %v, %v", st.Count(), st.Total(), err)
			}
		})
	}
}

// Many who meet the same damage at once set the block aside once.
func TestDamageThatManyMeet(t *testing.T) {
	for _, file := range []string{block.ChunksFile, block.IndexFile} {
		s, _, log := damagedStore(t, file)
		var wg sync.WaitGroup
		for range 20 {
			for _, meet := range encounters {
				wg.Go(func() {
					var damage *block.CorruptError
					if err := meet(t.Context(), s); err != nil && !errors.As(err, &damage) {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if n := testutil.ToFloat64(s.m.quarantined) + testutil.ToFloat64(s.m.reindexed); n != 1 {
			t.Errorf("%s: seen to %v times:\n%s", file, n, &log.buf)
		}
	}
}
