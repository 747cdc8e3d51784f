package block

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
)

// smallBlock writes a small block and returns its folder and files.
func smallBlock(t testing.TB) (dir string, model []modelSeries, files map[string][]byte) {
	t.Helper()
	model = []modelSeries{
		{newSeries(labels.FromStrings("__name__", "h", "job", "x")), []chunk.Chunk{histogramChunk(t, 5, 10, 3)}},
		{newSeries(labels.FromStrings("__name__", "m", "device_id", "d1")), []chunk.Chunk{xorChunk(t, 0, 10, 1, 2.5, 3), xorChunk(t, 100, 10, 4)}},
		{newSeries(labels.FromStrings("__name__", "m", "device_id", "d2")), []chunk.Chunk{xorChunk(t, 7, 10, 0.1)}},
	}
	root := t.TempDir()
	w, err := Create(root, WriterOptions{ULID: ulid.MustParseStrict("01J00000000000000000000000")})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range model {
		if err := w.Append(s.Series, s.chunks); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.Commit(Origin{Level: 1, Parents: []ulid.ULID{ulid.MustParseStrict("01H00000000000000000000000")}})
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(root, m.ULID.String())
	files = map[string][]byte{}
	for _, name := range []string{MetaFile, SeriesFile, ChunksFile, IndexFile} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, model, files
}

// read reads everything of a block by the calls that queries use, and compares it.
func read(b *Block, model []modelSeries) error {
	var sb labels.ScratchBuilder
	for i, want := range model {
		var ms []*labels.Matcher
		want.Labels.Range(func(l labels.Label) { ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value)) })
		ords, err := b.Postings(ms...)
		if err != nil {
			return err
		}
		id, err := b.ID(uint32(i))
		if err != nil {
			return err
		}
		if !slices.Equal(ords, []uint32{uint32(i)}) || !labels.Equal(b.Labels(ords[0], &sb), want.Labels) || id != idOf(want.Labels) {
			return fmt.Errorf("%w: series %v are %s", errSilent, ords, want.Labels)
		}
		rows, err := b.Chunks(nil, ords[0], math.MinInt64, math.MaxInt64)
		if err != nil {
			return err
		}
		if len(rows) != len(want.chunks) {
			return fmt.Errorf("%w: %d rows", errSilent, len(rows))
		}
		for j, r := range rows {
			c, err := b.Chunk(r)
			if err != nil {
				return err
			}
			w := want.chunks[j]
			if !same(c.Stats, w.Stats) || c.Encoding != w.Encoding || !bytes.Equal(c.Data, w.Data) {
				return fmt.Errorf("%w: row %d is %+v", errSilent, r.Num, c)
			}
		}
	}
	return nil
}

var errSilent = errors.New("a wrong answer")

// Bits all over every file, flipped: reads give an error or the right answer, without Verify's help;
// and Verify finds it, unless the file was made anew.
func TestFlippedBits(t *testing.T) {
	dir, model, files := smallBlock(t)
	found, harmless := 0, 0
	for name, good := range files {
		path := filepath.Join(dir, name)
		step := 13
		if name == IndexFile {
			step = 41
		}
		for bit := 0; bit < 8*len(good); bit += step {
			bad := slices.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			switch err := tryBlock(dir, model); {
			case errors.Is(err, errSilent):
				t.Fatalf("%s, bit %d: %v", name, bit, err)
			case err != nil:
				found++
				var ce *CorruptError
				if !errors.As(err, &ce) || ce.File != name {
					t.Fatalf("%s, bit %d: the error does not name it: %v", name, bit, err)
				}
			default:
				harmless++
				if now, err := os.ReadFile(path); err != nil || name != IndexFile || !bytes.Equal(now, good) {
					t.Fatalf("%s, bit %d: nothing found it, %v", name, bit, err)
				}
			}
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d found, %d made anew", found, harmless)
}

// tryBlock opens, reads and verifies a block.
func tryBlock(dir string, model []modelSeries) error {
	b, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := read(b, model); err != nil {
		return err
	}
	return b.Verify()
}

// Files that are missing, empty or cut are errors, too.
func TestCutFiles(t *testing.T) {
	dir, model, files := smallBlock(t)
	for name, good := range files {
		path := filepath.Join(dir, name)
		step := 13
		if name == IndexFile {
			step = 29
		}
		for n := 0; n < len(good); n += step {
			if err := os.WriteFile(path, good[:n], 0o644); err != nil {
				t.Fatal(err)
			}
			if err := tryBlock(dir, model); (err == nil) != (name == IndexFile) {
				t.Fatalf("%s cut to %d bytes: %v", name, n, err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := tryBlock(dir, model); (err == nil) != (name == IndexFile) {
			t.Fatalf("%s is missing: %v", name, err)
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := tryBlock(dir, model); err != nil {
		t.Fatal(err)
	}
}

// A statistic that is not that of the samples is found by Verify even when all checksums are right.
func TestVerifyFindsWrongStatistics(t *testing.T) {
	rows := []struct {
		name string
		do   func(*chunk.Chunk, *Series)
	}{
		{"sum", func(c *chunk.Chunk, _ *Series) { c.Sum++ }},
		{"min", func(c *chunk.Chunk, _ *Series) { c.Min-- }},
		{"max", func(c *chunk.Chunk, _ *Series) { c.Max = math.NaN() }},
		{"first", func(c *chunk.Chunk, _ *Series) { c.First = 9 }},
		{"last", func(c *chunk.Chunk, _ *Series) { c.Last = 9 }},
		{"increase", func(c *chunk.Chunk, _ *Series) { c.Increase += 5 }},
		{"samples", func(c *chunk.Chunk, _ *Series) { c.Samples++ }},
		{"stale", func(c *chunk.Chunk, _ *Series) { c.Stale++ }},
		{"min time", func(c *chunk.Chunk, _ *Series) { c.MinTime-- }},
		{"max time", func(c *chunk.Chunk, _ *Series) { c.MaxTime++ }},
		{"data", func(c *chunk.Chunk, _ *Series) { c.Data = c.Data[:len(c.Data)-1] }},
		{"encoding", func(c *chunk.Chunk, _ *Series) { c.Encoding = 99 }},
	}
	for _, r := range rows {
		root := t.TempDir()
		s := newSeries(labels.FromStrings("__name__", "m"))
		c := xorChunk(t, 100, 10, 1, 2, 3, 2)
		r.do(&c, &s)
		m := write(t, root, []modelSeries{{s, []chunk.Chunk{c}}})
		var ce *CorruptError
		if err := openBlock(t, filepath.Join(root, m.ULID.String())).Verify(); !errors.As(err, &ce) {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

// Random damage of many bytes anywhere never panics.
func TestDamage(t *testing.T) {
	dir, model, files := smallBlock(t)
	rng := rand.New(rand.NewPCG(8, 8))
	for range 60 {
		for name, good := range files {
			bad := slices.Clone(good)
			from := rng.IntN(len(bad))
			for i := from; i < min(len(bad), from+1+rng.IntN(64)); i++ {
				bad[i] = byte(rng.Uint32())
			}
			if err := os.WriteFile(filepath.Join(dir, name), bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := tryBlock(dir, model); errors.Is(err, errSilent) {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), good, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
