package block

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

type place struct {
	window    int64
	partition uint16
}

// digestsOf adds up the digests of a model, sample by sample.
func digestsOf(t *testing.T, model []modelSeries) map[place]series.Digest {
	t.Helper()
	all := map[place]series.Digest{}
	var d chunk.Digester
	for _, s := range model {
		for _, c := range s.chunks {
			err := d.Chunk(idOf(s.Labels), c, math.MinInt64, math.MaxInt64, func(w int64, sum series.Digest) {
				k := place{w, s.Partition}
				all[k] = all[k].Plus(sum)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

func compareDigests(t *testing.T, want map[place]series.Digest, got Digests) {
	t.Helper()
	last := place{math.MinInt64, 0}
	for i := range got.Len() {
		w, p, sum := got.At(i)
		if i > 0 && (w < last.window || w == last.window && p <= last.partition) {
			t.Fatalf("window %d, partition %d comes after %v", w, p, last)
		}
		if last = (place{w, p}); want[last] != sum {
			t.Fatalf("%v: %v, want %v", last, sum, want[last])
		}
	}
	if got.Len() != len(want) {
		t.Fatalf("%d digests, want %d", got.Len(), len(want))
	}
}

func TestDigests(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		model := randomModel(t, rng, 1+rng.IntN(100))
		root := t.TempDir()
		b := openBlock(t, filepath.Join(root, write(t, root, model).ULID.String()))
		want := digestsOf(t, model)
		for range 2 {
			got, err := b.Digests(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			compareDigests(t, want, got)
			n := 0
			for w, d := range got.Windows() {
				for i := range d.Len() {
					if x, p, _ := d.At(i); x != w || want[place{w, p}].IsZero() {
						t.Fatalf("window %d among those of %d", x, w)
					}
				}
				if between := got.Between(w, w); !bytes.Equal(between.raw, d.raw) {
					t.Fatalf("window %d: %d digests, want %d", w, between.Len(), d.Len())
				}
				n += d.Len()
			}
			if n != got.Len() {
				t.Fatalf("%d digests by windows, want %d", n, got.Len())
			}
		}
	}
}

// Years between samples cost nothing, and chunks may cross the slices in which digests are made.
func TestDigestsOfYears(t *testing.T) {
	slice := int64(sliceWindows * chunk.Span)
	model := []modelSeries{
		{newSeries(labels.FromStrings("__name__", "a")), []chunk.Chunk{
			xorChunk(t, -900*slice-7, slice/3, 1, 2, 3, 4, 5, 6, 7), xorChunk(t, slice-1, 1, 1, 2, 3), xorChunk(t, 5000*slice, 1, 9),
		}},
		{newSeries(labels.FromStrings("__name__", "b")), []chunk.Chunk{xorChunk(t, 0, slice/2, 1, 2, 3, 4, 5), xorChunk(t, 900*slice, 1000, 1)}},
		{newSeries(labels.FromStrings("__name__", "c")), []chunk.Chunk{xorChunk(t, math.MaxInt64-5, 1, 1, 2, 3, 4, 5, 6)}},
	}
	root := t.TempDir()
	b := openBlock(t, filepath.Join(root, write(t, root, model).ULID.String()))
	got, err := b.Digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	compareDigests(t, digestsOf(t, model), got)
}

// dense is a block of so many samples to a digest that these get a file.
func dense(t *testing.T) (dir string, model []modelSeries) {
	t.Helper()
	values := make([]float64, 300)
	model = []modelSeries{
		{newSeries(labels.FromStrings("__name__", "a")), []chunk.Chunk{xorChunk(t, 0, 1000, values...)}},
		{newSeries(labels.FromStrings("__name__", "b")), []chunk.Chunk{xorChunk(t, chunk.Span, 1000, values...)}},
	}
	root := t.TempDir()
	return filepath.Join(root, write(t, root, model).ULID.String()), model
}

// The file is made once, read by the next who opens the block, and made anew at any damage.
func TestDigestsFile(t *testing.T) {
	dir, model := dense(t)
	want := digestsOf(t, model)
	path := filepath.Join(dir, DigestsFile)
	get := func(b *Block) {
		t.Helper()
		got, err := b.Digests(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		compareDigests(t, want, got)
	}
	b := openBlock(t, dir)
	if b.HasDigests() {
		t.Fatal("there are digests")
	}
	get(b)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !openBlock(t, dir).HasDigests() {
		t.Fatal("there are no digests")
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		get(openBlock(t, dir))
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, good) {
			t.Fatalf("bit flipped at %d: the file was not made anew: %v", i, err)
		}
	}
	for _, bad := range [][]byte{nil, good[:10], good[:len(good)-1], append(bytes.Clone(good), 0)} {
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		get(openBlock(t, dir))
	}
	if err := openBlock(t, dir).Verify(); err != nil {
		t.Fatal(err)
	}
	sparse := []modelSeries{{newSeries(labels.FromStrings("__name__", "a")), []chunk.Chunk{xorChunk(t, 0, chunk.Span/10, make([]float64, 200)...)}}}
	root := t.TempDir()
	dir = filepath.Join(root, write(t, root, sparse).ULID.String())
	if _, err := openBlock(t, dir).Digests(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, DigestsFile)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("digests of ten samples each have a file: %v", err)
	}
}

func TestDigestsAreStopped(t *testing.T) {
	dir, _ := dense(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := openBlock(t, dir)
	if _, err := b.Digests(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if _, err := b.Digests(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A block that is told its digests does not read itself.
func TestSetDigests(t *testing.T) {
	dir, model := dense(t)
	var parts []Digests
	for i := range model {
		root := t.TempDir()
		b := openBlock(t, filepath.Join(root, write(t, root, model[i:i+1]).ULID.String()))
		d, err := b.Digests(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, d, d)
	}
	b := openBlock(t, dir)
	b.SetDigests(SumDigests(parts...))
	got, err := openBlock(t, dir).Digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	twice := digestsOf(t, model)
	for k, d := range twice {
		twice[k] = d.Plus(d)
	}
	compareDigests(t, twice, got)
}

func FuzzDigests(f *testing.F) {
	f.Add(encodeDigests(nil, [16]byte{}))
	f.Add(encodeDigests(appendDigest(nil, digest{1, 2, series.Digest{Hi: 3, Lo: 4}}), [16]byte{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, err := decodeDigests(b, [16]byte{})
		if err != nil {
			return
		}
		if again := encodeDigests(raw, [16]byte{}); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// The bytes lie on disks.
func TestGoldenDigests(t *testing.T) {
	raw := appendDigest(nil, digest{-1, 4095, series.Digest{Hi: 0x0102030405060708, Lo: 0x090a0b0c0d0e0f10}})
	want := "MTDIGES1" + "0123456789abcdef" + "\xff\xff\xff\xff\xff\xff\xff\xff" + "\x0f\xff" + "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10" + "\xe3\xa0\xba\x43"
	if got := encodeDigests(raw, [16]byte([]byte("0123456789abcdef"))); string(got) != want {
		t.Fatalf("%q, want %q", got, want)
	}
}

// What was decompressed for digests is not wanted again soon, and does not stay.
func TestDigestsLeaveNothingInTheCache(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, write(t, root, randomModel(t, rand.New(rand.NewPCG(4, 3)), 100)).ULID.String())
	cache := NewCache(0)
	b, err := Open(dir, Options{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	d, err := b.Digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, most := cache.Bytes(), int64(len(d.raw))+128; got > most {
		t.Errorf("%d bytes in the cache, of which %d may be the digests", got, most)
	}
}
