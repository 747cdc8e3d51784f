package compact

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
)

// sample is a float, or a histogram when h is set.
type sample struct {
	v float64
	h *histogram.Histogram
}

// better is the rule of package chunk, said again: a histogram beats a number, a number NaN, NaN a stale marker.
func better(a, b sample) sample {
	rank := func(s sample) int {
		switch {
		case s.h != nil:
			return 3
		case value.IsStaleNaN(s.v):
			return 0
		case math.IsNaN(s.v):
			return 1
		}
		return 2
	}
	switch ra, rb := rank(a), rank(b); {
	case ra > rb:
		return a
	case rb > ra:
		return b
	case ra == 3 && b.h.Count > a.h.Count, ra == 2 && b.v > a.v:
		return b
	}
	return a
}

// model is samples by time by series.
type model map[string]map[int64]sample

func (m model) add(ls labels.Labels, t int64, s sample) {
	of := m[ls.String()]
	if of == nil {
		of = map[int64]sample{}
		m[ls.String()] = of
	}
	if old, ok := of[t]; ok {
		s = better(old, s)
	}
	of[t] = s
}

func hist(n int) *histogram.Histogram {
	return &histogram.Histogram{
		Count: uint64(2 * n), Sum: float64(n), Schema: 1, ZeroThreshold: 0.001,
		PositiveSpans: []histogram.Span{{Offset: int32(n % 2), Length: 2}}, PositiveBuckets: []int64{int64(n), 0},
	}
}

// samples is an iterator over samples of one series, in time order.
type samples struct {
	chunkenc.Iterator // panics on what is not said here
	ts                []int64
	of                map[int64]sample
	i                 int
}

func (s *samples) Next() chunkenc.ValueType {
	if s.i++; s.i > len(s.ts) {
		return chunkenc.ValNone
	}
	if s.of[s.AtT()].h != nil {
		return chunkenc.ValHistogram
	}
	return chunkenc.ValFloat
}
func (s *samples) AtT() int64           { return s.ts[s.i-1] }
func (s *samples) At() (int64, float64) { return s.AtT(), s.of[s.AtT()].v }
func (s *samples) Err() error           { return nil }
func (s *samples) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return s.AtT(), s.of[s.AtT()].h.Copy()
}

// writeModel writes a block of what a model holds.
func writeModel(t testing.TB, root string, m model, sets map[string]labels.Labels) *block.Block {
	t.Helper()
	return writeFlush(t, root, m, sets, 0)
}

// writeFlush writes a block of a flush with this number.
func writeFlush(t testing.TB, root string, m model, sets map[string]labels.Labels, generation uint64) *block.Block {
	t.Helper()
	w, err := block.Create(root, block.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ordered := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return labels.Compare(sets[a], sets[b]) })
	for _, name := range ordered {
		cs, err := chunk.Encode(nil, &samples{ts: slices.Sorted(maps.Keys(m[name])), of: m[name]})
		if err != nil {
			t.Fatal(err)
		}
		ls := sets[name]
		s := block.Series{Partition: uint16(len(name)), Labels: ls}
		if err := w.Append(s, cs); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := w.Commit(block.Origin{Generation: generation})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, root, meta)
}

func open(t testing.TB, root string, meta block.Meta) *block.Block {
	t.Helper()
	b, err := block.Open(filepath.Join(root, meta.ULID.String()), block.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// compareModel fails unless a block holds exactly the samples of a model.
func compareModel(t *testing.T, b *block.Block, want model) {
	t.Helper()
	if err := b.Verify(); err != nil {
		t.Fatal(err)
	}
	if got := int(b.Meta().Series); got != len(want) {
		t.Fatalf("%d series, want %d", got, len(want))
	}
	var sb labels.ScratchBuilder
	for ord := range uint32(b.Meta().Series) {
		name := b.Labels(ord, &sb).String()
		rows, err := b.Chunks(nil, ord, math.MinInt64, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range rows {
			if r.Samples > chunk.MaxDense || chunk.Window(r.MinTime) != chunk.Window(r.MaxTime) {
				t.Fatalf("%s: a chunk of %d samples from %d to %d", name, r.Samples, r.MinTime, r.MaxTime)
			}
			c, err := b.Chunk(r)
			if err != nil {
				t.Fatal(err)
			}
			d, err := c.Decode()
			if err != nil {
				t.Fatal(err)
			}
			it := d.Iterator(nil)
			for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
				n++
				w, ok := want[name][it.AtT()]
				switch {
				case !ok || (vt == chunkenc.ValHistogram) != (w.h != nil):
					t.Fatalf("%s at %d: type %v, want %+v", name, it.AtT(), vt, w)
				case w.h != nil:
					if _, h := it.AtHistogram(nil); h.Count != w.h.Count || h.Sum != w.h.Sum {
						t.Fatalf("%s at %d: %v, want %v", name, it.AtT(), h, w.h)
					}
				default:
					if _, v := it.At(); math.Float64bits(v) != math.Float64bits(w.v) {
						t.Fatalf("%s at %d: %v, want %v", name, it.AtT(), v, w.v)
					}
				}
			}
		}
		if n != len(want[name]) {
			t.Fatalf("%s: %d samples, want %d", name, n, len(want[name]))
		}
	}
}
