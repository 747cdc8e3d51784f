package store

import (
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// Of several writers who have the same new series at once, none gets a sample into the log before the series' key: the log could not be
// replayed. The segments are read as a crash leaves them.
func TestKeysComeBeforeSamplesInTheLog(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	defer s.Close()
	const rounds, wide = 50, 500
	for round := range rounds {
		all := &series.Batch{}
		for i := range wide {
			b := one(fmt.Sprintf("m%d_%d", round, i), series.Sample{T: 1, V: 1})
			b.Series[0].First = i
			all.Series, all.Samples = append(all.Series, b.Series[0]), append(all.Samples, b.Samples[0])
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Append(t.Context(), all); err != nil {
				t.Error(err)
			}
		})
		for i := range wide / 10 {
			wg.Go(func() {
				if err := s.Append(t.Context(), one(fmt.Sprintf("m%d_%d", round, i*10), series.Sample{T: 2, V: 2})); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	named := map[uint32]bool{}
	for _, path := range segments(t, dir) {
		if _, _, err := wal.Scan(path, func(off int64, typ wal.Type, rec []byte) error {
			switch typ {
			case wal.Series:
				return wal.DecodeSeries(rec, func(ref uint32, _ []byte) error { named[ref] = true; return nil })
			case wal.Samples:
				return wal.DecodeSamples(rec, func(ref uint32, _ int64, _ float64) error {
					if !named[ref] {
						return fmt.Errorf("offset %d: a sample of series %d comes before its key", off, ref)
					}
					return nil
				})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(named) != rounds*wide {
		t.Errorf("the log names %d series of %d", len(named), rounds*wide)
	}
	got, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	if want := uint64(rounds * (wide + wide/10)); err != nil || got.Count() != want {
		t.Errorf("%d samples of %d, %v", got.Count(), want, err)
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("segments %v, %v", paths, err)
	}
	return paths
}
