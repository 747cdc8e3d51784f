package block

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/disk"
)

// same compares statistics as they are stored.
func same(a, b chunk.Stats) bool {
	bits := math.Float64bits
	return a.MinTime == b.MinTime && a.MaxTime == b.MaxTime && a.Samples == b.Samples && a.Stale == b.Stale &&
		bits(a.Total()) == bits(b.Total()) && bits(a.Min) == bits(b.Min) && bits(a.Max) == bits(b.Max) &&
		bits(a.First) == bits(b.First) && bits(a.Last) == bits(b.Last) && bits(a.Increase) == bits(b.Increase)
}

// compare fails unless a block holds exactly a model.
func compare(t *testing.T, b *Block, model []modelSeries) {
	t.Helper()
	all, err := b.Postings()
	if err != nil || len(all) != len(model) {
		t.Fatalf("%d series, %v; want %d", len(all), err, len(model))
	}
	var sb labels.ScratchBuilder
	for i, want := range model {
		ord := uint32(i)
		if ls := b.Labels(ord, &sb); !labels.Equal(ls, want.Labels) {
			t.Fatalf("series %d: labels %s, want %s", i, ls, want.Labels)
		}
		id, err := b.ID(ord)
		partition, perr := b.Partition(ord)
		if err != nil || perr != nil || id != idOf(want.Labels) || partition != want.Partition {
			t.Fatalf("series %d: id %s, partition %d, %v, %v", i, id, partition, err, perr)
		}
		rows, err := b.Chunks(nil, ord, math.MinInt64, math.MaxInt64)
		if err != nil || len(rows) != len(want.chunks) {
			t.Fatalf("series %d: %d rows, %v; want %d", i, len(rows), err, len(want.chunks))
		}
		for j, r := range rows {
			got, err := b.Chunk(r)
			if err != nil {
				t.Fatal(err)
			}
			if c := want.chunks[j]; !same(r.Stats, c.Stats) || r.Encoding != c.Encoding || !bytes.Equal(got.Data, c.Data) || !bytes.Equal(got.Times, c.Times) {
				t.Fatalf("series %d chunk %d: %+v, want %+v", i, j, r, c)
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		model := randomModel(t, rng, 1+rng.IntN(100))
		root := t.TempDir()
		m := write(t, root, model)
		b := openBlock(t, filepath.Join(root, m.ULID.String()))
		compare(t, b, model)
		if err := b.Verify(); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(b.Meta(), m) || m.Level != 2 || len(m.Parents) != 2 {
			t.Fatalf("meta %+v, want %+v", b.Meta(), m)
		}
		if ids, err := List(root); err != nil || !slices.Equal(ids, []ulid.ULID{m.ULID}) {
			t.Fatal(ids, err)
		}
	}
}

// Every window of time gives the chunks that overlap it.
// Of few chunks, whose rows stay at hand, and of many, a window has those that overlap it.
func TestChunksWindow(t *testing.T) {
	for _, n := range []int64{fewRows, 30} {
		var cs []chunk.Chunk
		for i := range n {
			cs = append(cs, xorChunk(t, i*100, 10, 1, 2, 3)) // [100i, 100i+20]
		}
		root := t.TempDir()
		m := write(t, root, []modelSeries{{newSeries(labels.FromStrings("__name__", "m")), cs}})
		b := openBlock(t, filepath.Join(root, m.ULID.String()))
		for mint := int64(-50); mint < 100*n+100; mint += 7 {
			for _, width := range []int64{0, 5, 90, 500, 5000} {
				checkWindow(t, b, cs, mint, mint+width)
			}
		}
		if _, hot := b.cache.rows.Get(b.number(0)); hot != (n == fewRows) {
			t.Errorf("the rows of %d chunks are hot: %v", n, hot)
		}
	}
}

// checkWindow compares the rows of the only series with its chunks.
func checkWindow(t *testing.T, b *Block, cs []chunk.Chunk, mint, maxt int64) {
	t.Helper()
	rows, err := b.Chunks(nil, 0, mint, maxt)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range cs {
		if c.MinTime <= maxt && c.MaxTime >= mint {
			if n >= len(rows) || rows[n].MinTime != c.MinTime {
				t.Fatalf("[%d,%d]: row %d is missing", mint, maxt, n)
			}
			n++
		}
	}
	if n != len(rows) {
		t.Fatalf("[%d,%d]: %d rows, want %d", mint, maxt, len(rows), n)
	}
}

// More series and rows than a row group of either file takes.
func TestManyRowGroups(t *testing.T) {
	var model []modelSeries
	for i := range seriesGroupRows + 1000 {
		ls := labels.FromStrings("__name__", "m", "i", string(rune('a'+i%26))+pad(i))
		model = append(model, modelSeries{newSeries(ls), []chunk.Chunk{xorChunk(t, int64(i), 1, float64(i))}})
	}
	slices.SortFunc(model, func(a, b modelSeries) int { return labels.Compare(a.Labels, b.Labels) })
	root := t.TempDir()
	m := write(t, root, model)
	b := openBlock(t, filepath.Join(root, m.ULID.String()))
	compare(t, b, model)
	if err := b.Verify(); err != nil {
		t.Fatal(err)
	}
	if len(b.rows.groups) != 17 || len(b.series.groups) != 2 {
		t.Fatalf("%d and %d row groups", len(b.rows.groups), len(b.series.groups))
	}
}

func pad(i int) string {
	const digits = "0123456789"
	b := make([]byte, 7)
	for j := range b {
		b[6-j] = digits[i%10]
		i /= 10
	}
	return string(b)
}

// Series that have no label but their name leave two columns of series.parquet without a value.
func TestIndexOfBareNamesIsRebuilt(t *testing.T) {
	root := t.TempDir()
	m := write(t, root, []modelSeries{{newSeries(labels.FromStrings("__name__", "m")), []chunk.Chunk{xorChunk(t, 0, 10, 1)}}})
	dir := filepath.Join(root, m.ULID.String())
	if err := os.Remove(filepath.Join(dir, IndexFile)); err != nil {
		t.Fatal(err)
	}
	b := openBlock(t, dir)
	if err := b.Verify(); err != nil || !b.Reindexed() {
		t.Fatalf("%v, made anew: %v", err, b.Reindexed())
	}
}

func TestIndexIsRebuilt(t *testing.T) {
	model := randomModel(t, rand.New(rand.NewPCG(7, 7)), 50)
	root := t.TempDir()
	m := write(t, root, model)
	dir := filepath.Join(root, m.ULID.String())
	name := filepath.Join(dir, IndexFile)
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	other := write(t, root, model) // the index of another block
	foreign, err := os.ReadFile(filepath.Join(root, other.ULID.String(), IndexFile))
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(want)
	flipped[len(flipped)/2] ^= 1
	rows := []struct {
		name string
		data []byte
	}{{"missing", nil}, {"empty", []byte{}}, {"cut", want[:len(want)-1]}, {"flipped", flipped}, {"foreign", foreign}}
	for _, r := range rows {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if r.data != nil {
			if err := os.WriteFile(name, r.data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		compare(t, openBlock(t, dir), model)
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: the new index differs from the writer's: %v", r.name, err)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	a := newSeries(labels.FromStrings("__name__", "a"))
	b := newSeries(labels.FromStrings("__name__", "b"))
	c1, c2 := xorChunk(t, 0, 10, 1, 2), xorChunk(t, 10, 10, 1, 2)
	none, noData := c1, c1
	none.Samples, noData.Data = 0, nil
	rows := []struct {
		name   string
		series []Series
		chunks []chunk.Chunk
		order  bool
	}{
		{"the same series twice", []Series{a, a}, []chunk.Chunk{c1}, true},
		{"series out of order", []Series{b, a}, []chunk.Chunk{c1}, true},
		{"overlapping chunks", []Series{a}, []chunk.Chunk{c1, c2}, true},
		{"chunks out of order", []Series{a}, []chunk.Chunk{c2, c1}, true},
		{"an empty label", []Series{newSeries(labels.FromStrings("a", ""))}, []chunk.Chunk{c1}, true},
		{"labels out of order", []Series{newSeries(labels.New(labels.Label{Name: "a", Value: "1"}, labels.Label{Name: "a", Value: "2"}))}, []chunk.Chunk{c1}, true},
		{"no samples", []Series{a}, []chunk.Chunk{none}, false},
		{"no data", []Series{a}, []chunk.Chunk{noData}, false},
	}
	for _, r := range rows {
		root := t.TempDir()
		w, err := Create(root, WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.series {
			err = w.Append(s, r.chunks)
		}
		if err == nil || errors.Is(err, ErrOrder) != r.order {
			t.Errorf("%s: error %v", r.name, err)
		}
		if _, err := w.Commit(Origin{}); err == nil {
			t.Errorf("%s: committed", r.name)
		}
		if left, _ := os.ReadDir(root); len(left) != 0 {
			t.Errorf("%s: left %v", r.name, left)
		}
	}
	w, err := Create(t.TempDir(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(a, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(Origin{}); !errors.Is(err, ErrEmpty) {
		t.Fatalf("an empty block: %v", err)
	}
}

// A reader that holds a reference reads on after the block is deleted and closed.
func TestLifetime(t *testing.T) {
	model := randomModel(t, rand.New(rand.NewPCG(3, 3)), 5)
	root := t.TempDir()
	m := write(t, root, model)
	b := openBlock(t, filepath.Join(root, m.ULID.String()))
	if !b.Retain() {
		t.Fatal("an open block cannot be retained")
	}
	if err := errors.Join(Remove(disk.OS, b.Dir()), b.Close()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	compare(t, b, model)
	b.Release()
	if b.Retain() {
		t.Fatal("a closed block was retained")
	}
	if left, _ := os.ReadDir(root); len(left) != 0 {
		t.Fatalf("left %v", left)
	}
}

func TestCleanRemovesLeftovers(t *testing.T) {
	root := t.TempDir()
	id := ulid.MustNew(1, bytes.NewReader(make([]byte, 16)))
	keep := []string{"notes.tmp", id.String()}
	for _, d := range append([]string{id.String() + tmpSuffix, id.String() + delSuffix}, keep...) {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if ids, err := List(root); err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	if err := Clean(disk.OS, root); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(root)
	if err != nil || len(left) != len(keep) {
		t.Fatal(left, err)
	}
	if ids, err := List(filepath.Join(root, "none")); err != nil || ids != nil {
		t.Fatal(ids, err)
	}
}
