package store

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk/series"
)

// Queries over blocks that nobody asked for before hold no more of them in memory than the cache may, and what they are at.
func TestColdBlocksTakeBoundedMemory(t *testing.T) {
	const (
		count, length = 100, 20_000 // series, samples of each; a second apart
		cache         = 1 << 20
		bound         = cache + 4<<20 // bytes
	)
	w := newWorld(t, 2)
	dir := t.TempDir()
	o := Options{CacheBytes: cache, MemtableBytes: 64 << 20}
	s := open(t, dir, o)
	key := func(i int) string { return fmt.Sprint("m", i%10, "_", i) }
	for i := range count {
		samples := make([]series.Sample, length)
		for j := range samples {
			samples[j] = series.Sample{T: epoch + int64(j)*1000, V: math.Float64frombits(w.r.Uint64() >> 2)} // no two alike: 8 bytes each
		}
		if err := s.Append(t.Context(), one(key(i), samples...)); err != nil {
			t.Fatal(err)
		}
		if i%30 == 29 {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for kind, ask := range map[string]func(t *testing.T, s *Store, look func()) uint64{
		"samples": coldSamples, "chunks": coldChunks, "statistics": func(t *testing.T, s *Store, look func()) (n uint64) {
			for i := range count { // of a window that begins and ends within chunks
				got, err := s.Aggregate(t.Context(), epoch+1234, epoch+(length-1)*1000-4321, labels.MustNewMatcher(labels.MatchEqual, "__name__", key(i)))
				if err != nil {
					t.Fatal(err)
				}
				n += got.Count() + 7 // two at its start and five at its end are not in it
				look()
			}
			return n
		},
	} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, o)
		var size int64
		for _, m := range s.metas() {
			for _, f := range m.Files {
				size += f.Size
			}
		}
		before, most, seen := live(), int64(0), 0
		n := ask(t, s, func() {
			if seen++; seen%10 == 0 {
				most = max(most, live()-before)
			}
		})
		if n != count*length {
			t.Errorf("%s: %d samples, want %d", kind, n, count*length)
		}
		t.Logf("%s: %d KiB more in memory at most, of %d KiB on disk", kind, most>>10, size>>10)
		if most > bound || size < 5*bound {
			t.Errorf("%s: %d bytes more in memory, want at most %d; %d on disk", kind, most, bound, size)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// live is how many bytes of the heap are in use.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// coldSamples reads all samples, and looks after every series.
func coldSamples(t *testing.T, s *Store, look func()) (n uint64) {
	q, err := s.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchNotEqual, "__name__", ""))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			n++
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		look()
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// coldChunks reads all chunks.
func coldChunks(t *testing.T, s *Store, look func()) (n uint64) {
	q, err := s.ChunkQuerier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchNotEqual, "__name__", ""))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() {
			n += uint64(it.At().Chunk.NumSamples())
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		look()
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}
