// Package promdata reads the samples in a data folder of Prometheus's server, blocks and write-ahead log, with
// Prometheus's own code. It is the one package that imports its tsdb, for minitruectl alone.
package promdata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// Source is a data folder. Its positions are times, of the windows in which it is read.
type Source struct {
	Dir      string
	Sandbox  string // where Prometheus's code links files while it reads; on the same file system; "" means Dir
	MinTime  int64  // ms, inclusive
	MaxTime  int64
	Matchers []*labels.Matcher
	Window   time.Duration // 0 means 24 h
	Logger   *slog.Logger  // nil means none
}

// Name tells the folder, and not what is in it: a later state of it is read from where the earlier one ended.
func (s Source) Name() string {
	abs, err := filepath.Abs(s.Dir)
	if err != nil {
		abs = s.Dir
	}
	return fmt.Sprintf("prometheus %s %s from %d", abs, s.Matchers, s.MinTime)
}

// Read reads the windows from a position on, from old to new, and the log with the last.
func (s Source) Read(ctx context.Context, from int64, emit func(*flow.Run) error, mark func(int64) error) (err error) {
	if err := s.unused(); err != nil {
		return err
	}
	db, err := tsdb.OpenDBReadOnly(s.Dir, s.Sandbox, s.Logger)
	if err != nil {
		return fmt.Errorf("open the data folder of Prometheus: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	blocks, err := db.Blocks()
	if err != nil {
		return fmt.Errorf("open the data folder of Prometheus: %w", err)
	}
	first, behind := int64(math.MaxInt64), int64(math.MinInt64) // behind the last block
	for _, b := range blocks {
		first, behind = min(first, b.Meta().MinTime), max(behind, b.Meta().MaxTime)
	}
	begin := s.MinTime
	if from != 0 {
		begin = max(begin, from)
	}
	window := int64(24 * time.Hour / time.Millisecond)
	if s.Window > 0 {
		window = s.Window.Milliseconds()
	}
	// Out-of-order samples in the log lie anywhere in time, and Prometheus's code reads the log only for times behind the
	// blocks: then all is one window.
	if len(blocks) > 0 && !s.outOfOrder() && behind > s.MinTime {
		err := flow.Windows(max(begin, first), min(s.MaxTime, behind-1), window, func(mint, maxt int64) error {
			if err := s.window(ctx, db, mint, maxt, emit); err != nil {
				return err
			}
			return mark(maxt + 1)
		})
		if err != nil {
			return err
		}
		begin = max(begin, behind)
	}
	if begin > s.MaxTime {
		return nil
	}
	return s.window(ctx, db, begin, s.MaxTime, emit)
}

// unused makes sure that no server writes to the folder.
func (s Source) unused() error {
	lock := filepath.Join(s.Dir, "lock")
	if _, err := os.Stat(lock); errors.Is(err, os.ErrNotExist) {
		return nil // a snapshot
	}
	l, _, err := fileutil.Flock(lock)
	if err != nil {
		return fmt.Errorf("a Prometheus has %s open: stop it, or import a snapshot of it (POST /api/v1/admin/tsdb/snapshot): %w", s.Dir, err)
	}
	return l.Release()
}

func (s Source) outOfOrder() bool {
	entries, err := os.ReadDir(filepath.Join(s.Dir, "wbl"))
	return err == nil && len(entries) > 0
}

func (s Source) window(ctx context.Context, db *tsdb.DBReadOnly, mint, maxt int64, emit func(*flow.Run) error) (err error) {
	q, err := db.Querier(mint, maxt)
	if err != nil {
		return fmt.Errorf("read the data folder of Prometheus: %w", err)
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	set := q.Select(ctx, false, &storage.SelectHints{Start: mint, End: maxt}, s.Matchers...)
	var it chunkenc.Iterator
	var buf flow.Buffer
	for set.Next() {
		one := set.At()
		it = one.Iterator(it)
		if err := buf.Each(one.Labels(), nil, it, mint, maxt, emit); err != nil {
			return fmt.Errorf("series %s: %w", one.Labels(), err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := set.Err(); err != nil {
		return fmt.Errorf("read the data folder of Prometheus: %w", err)
	}
	return nil
}
