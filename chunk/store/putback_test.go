package store

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/compact"
	"github.com/minitrue/minitrue/chunk/series"
)

// A block that was set aside, mended and put back has nothing of what was deleted before or meanwhile, however often was merged in between;
// and when it is gone for good the tombstones go as well.
func TestABlockThatIsPutBackBringsNothingBackThatWasDeleted(t *testing.T) {
	for _, file := range []string{block.ChunksFile, block.MetaFile} { // the one says what lies in it, the other does not
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{CacheBytes: 1, Compact: compact.Options{Force: true}, CompactDuty: 1}
			s := open(t, dir, o)
			for i := range int64(2) {
				for _, name := range []string{"before", "meanwhile", "kept"} {
					if err := s.Append(t.Context(), one(name, series.Sample{T: i * chunk.Span, V: 1})); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			remove := func(name string) {
				t.Helper()
				if _, err := s.Delete(t.Context(), 0, 0, labels.MustNewMatcher(labels.MatchEqual, "__name__", name)); err != nil {
					t.Fatal(err)
				}
			}
			remove("before")
			id := s.blocks[0].Meta().ULID
			good := filepath.Join(t.TempDir(), id.String())
			if err := os.CopyFS(good, os.DirFS(s.blockDir(id))); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			flip(t, filepath.Join(dir, "blocks", id.String(), file), 0)
			s = open(t, dir, o)
			count := func() float64 {
				t.Helper()
				st, err := s.Aggregate(t.Context(), 0, math.MaxInt64, every)
				if err != nil {
					t.Fatal(err)
				}
				return float64(st.Count())
			}
			if _, err := s.Aggregate(t.Context(), 0, math.MaxInt64, every); file == block.ChunksFile && err == nil {
				if err := s.CompactAll(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.CompactAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			aside := filepath.Join(dir, quarantineDir, id.String())
			if !exists(aside) || count() != 3 {
				t.Fatalf("set aside: %v, %v samples, want 3", exists(aside), count())
			}
			remove("meanwhile")
			if err := s.CompactAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(aside); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(good, filepath.Join(dir, "blocks", id.String())); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, o)
			defer s.Close()
			if got := count(); got != 4 {
				t.Errorf("%v samples after the block was put back, want 4: those of another time and the one that was kept", got)
			}
			if err := s.CompactAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := count(); got != 4 || len(s.tombs.Tombstones) > 0 {
				t.Errorf("%v samples and %d tombstones after a merge", got, len(s.tombs.Tombstones))
			}
		})
	}
}
