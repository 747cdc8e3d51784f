package verify

import (
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/chunk/wal"
	"github.com/minitrue/minitrue/cmd/internal/fixture"
)

func verified(t *testing.T, dir string) Report {
	t.Helper()
	r, err := Folder(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSoundFolder(t *testing.T) {
	dir := t.TempDir()
	fixture.Fill(t, dir, 0, 300, true)
	fixture.Fill(t, dir, 300, 400, false)
	before := listing(t, dir)
	r := verified(t, dir)
	if len(r.Findings) > 0 || len(r.Notes) > 0 {
		t.Errorf("%v %v", r.Findings, r.Notes)
	}
	if r.Blocks < 2 || r.Samples != 300*fixture.Series || r.Segments == 0 || r.Records == 0 {
		t.Errorf("%+v", r)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("it changed the folder from\n%sto\n%s", before, after)
	}
}

// listing names every file with its size and its time.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			b.WriteString(path + " " + fi.ModTime().String() + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A flipped bit anywhere in a block is found and told with its file. In the log, all but the zeros at the end count.
func TestEveryFlippedBitIsFound(t *testing.T) {
	dir := t.TempDir()
	fixture.Fill(t, dir, 0, 100, true)
	fixture.Fill(t, dir, 100, 200, false)
	var files []string
	for _, pattern := range []string{"blocks/*/*", "wal/*.wal"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		files = append(files, found...)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, path := range files {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 12 {
			at := rng.IntN(len(whole))
			damaged := append([]byte(nil), whole...)
			damaged[at] ^= 1 << rng.IntN(8)
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			r := verified(t, dir)
			if len(r.Findings) == 0 && !torn(dir, path) {
				t.Errorf("a flipped bit at %d of %s is not found", at, path)
			}
			for _, f := range r.Findings {
				if filepath.Dir(f.File) != filepath.Dir(path) || f.What == "" || f.Do == "" {
					t.Errorf("a flipped bit at %d of %s is told as %s", at, path, f)
				}
			}
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// torn reports whether damage of a file may be the end of an interrupted write: it is the last of the log.
func torn(dir, path string) bool {
	segments, _ := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	return len(segments) > 0 && segments[len(segments)-1] == path
}

// What was deleted and what of the log is dropped is in files of their own, every bit of which counts.
func TestTombstonesAndDroppedLog(t *testing.T) {
	dir := t.TempDir()
	fixture.Fill(t, dir, 0, 100, true)
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(t.Context(), math.MinInt64, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", fixture.Labels(0).Get("__name__"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, dir); len(r.Findings) > 0 || len(r.Notes) > 0 {
		t.Fatalf("%v %v", r.Findings, r.Notes)
	}
	for _, path := range []string{filepath.Join(dir, store.TombstonesFile), filepath.Join(dir, "wal", wal.DropFile)} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < 8*len(whole); at += 11 {
			damaged := append([]byte(nil), whole...)
			damaged[at/8] ^= 1 << (at % 8)
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			r := verified(t, dir)
			if len(r.Findings) != 1 || r.Findings[0].File != path || r.Findings[0].What == "" || r.Findings[0].Do == "" {
				t.Fatalf("bit %d of %s: %v", at, path, r.Findings)
			}
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	fixture.Fill(t, dir, 0, 100, true)
	for _, name := range []string{block.MetaFile, block.IndexFile, block.ChunksFile, block.SeriesFile} {
		paths, err := filepath.Glob(filepath.Join(dir, "blocks", "*", name))
		if err != nil || len(paths) == 0 {
			t.Fatal(err)
		}
		if err := os.Rename(paths[0], paths[0]+".away"); err != nil {
			t.Fatal(err)
		}
		r := verified(t, dir)
		if len(r.Findings) != 1 || r.Findings[0].File != paths[0] {
			t.Errorf("without %s: %v", name, r.Findings)
		}
		if err := os.Rename(paths[0]+".away", paths[0]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Folder(t.Context(), t.TempDir(), Options{}); err == nil {
		t.Error("an empty folder passes")
	}
}

// A block that is in a snapshot too is read once, and damage in one that is only there is found.
func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	fixture.Fill(t, dir, 0, 100, true)
	blocks := verified(t, dir).Blocks
	snapshot := filepath.Join(dir, "snapshots", "one", "blocks")
	paths, err := filepath.Glob(filepath.Join(dir, "blocks", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		to := filepath.Join(snapshot, filepath.Base(filepath.Dir(p)), filepath.Base(p))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(p, to); err != nil {
			t.Fatal(err)
		}
	}
	if r := verified(t, dir); r.Blocks != blocks || len(r.Findings) > 0 {
		t.Errorf("%d blocks, want %d: %v", r.Blocks, blocks, r.Findings)
	}
	damaged := strings.Replace(paths[0], filepath.Join(dir, "blocks"), snapshot, 1)
	if err := os.RemoveAll(filepath.Join(dir, "blocks")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 4
	if err := os.WriteFile(damaged, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, dir); r.Blocks != blocks || len(r.Findings) != 1 {
		t.Errorf("%d blocks, want %d: %v", r.Blocks, blocks, r.Findings)
	}
}
