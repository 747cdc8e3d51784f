package compact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/series"
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
		s := block.Series{ID: series.HashKey(series.AppendKey(nil, ls)), Partition: uint16(len(name)), Labels: ls}
		if err := w.Append(s, cs); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := w.Commit(0, nil)
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
			if r.Samples > chunk.MaxSamples || chunk.Window(r.MinTime) != chunk.Window(r.MaxTime) {
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

// Random blocks that overlap, repeat and disagree become what the rule says, whatever their order.
func TestMergeAgainstModel(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 4))
		root := t.TempDir()
		want := model{}
		sets := map[string]labels.Labels{}
		var blocks []*block.Block
		for range 1 + rng.IntN(4) {
			one := model{}
			for range 1 + rng.IntN(12) {
				ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(rng.IntN(15)))
				sets[ls.String()] = ls
				at := rng.Int64N(4*chunk.Span) - 2*chunk.Span
				step := int64(1+rng.IntN(20)) * 1000
				for i := range int64(1 + rng.IntN(900)) {
					s := sample{v: float64(rng.IntN(5))}
					switch {
					case rng.IntN(50) == 0:
						s.v = math.Float64frombits(value.StaleNaN)
					case rng.IntN(50) == 0:
						s.v = math.NaN()
					case seed%2 == 1 && i%200 > 150:
						s = sample{h: hist(1 + rng.IntN(50))}
					}
					t := at/1000*1000 + i*step
					one.add(ls, t, s)
				}
			}
			for name, of := range one {
				for ts, s := range of {
					want.add(sets[name], ts, s)
				}
			}
			blocks = append(blocks, writeModel(t, root, one, sets))
		}
		for range 2 {
			rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
			meta, err := Merge(context.Background(), blocks, root, MergeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if meta.Level != 1 || len(meta.Parents) != len(blocks) {
				t.Fatalf("%+v", meta)
			}
			compareModel(t, open(t, root, meta), want)
		}
	}
}

// Full chunks are copied byte for byte; small neighbours become one, but not across a window.
func TestMergeCopiesAndJoins(t *testing.T) {
	ls := labels.FromStrings("__name__", "m")
	sets := map[string]labels.Labels{ls.String(): ls}
	root := t.TempDir()
	part := func(from int64, n int) *block.Block {
		m := model{}
		for i := range int64(n) {
			m.add(ls, from+i*1000, sample{v: float64(from + i)})
		}
		return writeModel(t, root, m, sets)
	}
	blocks := []*block.Block{
		part(0, 480), part(480_000, 100), part(600_000, 100), part(chunk.Span-50_000, 50), part(chunk.Span, 50), part(chunk.Span+60_000, 480),
	}
	meta, err := Merge(context.Background(), blocks, root, MergeOptions{Level: 7})
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, root, meta)
	rows, err := b.Chunks(nil, 0, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, r := range rows {
		got = append(got, r.Samples)
	}
	if want := []uint64{480, 250, 50, 480}; !slices.Equal(got, want) || meta.Level != 7 {
		t.Fatalf("chunks of %v samples, level %d; want %v", got, meta.Level, want)
	}
	for i, from := range map[int]*block.Block{0: blocks[0], 3: blocks[5]} {
		old, err := from.Chunks(nil, 0, math.MinInt64, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := from.Data(old[0])
		c, errC := b.Data(rows[i])
		if errA != nil || errC != nil || !bytes.Equal(a, c) {
			t.Fatalf("chunk %d was not copied: %v, %v", i, errA, errC)
		}
	}
	// Merging the result once more changes nothing but the name.
	again, err := Merge(context.Background(), []*block.Block{b}, root, MergeOptions{})
	if err != nil || again.Files[block.ChunksFile] != meta.Files[block.ChunksFile] {
		t.Fatalf("%+v, want %+v, %v", again, meta, err)
	}
}

// A histogram chunk does not claim to know what came before it when that is from another block.
func TestMergeTakesHintsBack(t *testing.T) {
	ls := labels.FromStrings("__name__", "h")
	sets := map[string]labels.Labels{ls.String(): ls}
	root := t.TempDir()
	part := func(count int, gauge bool, starts ...int64) *block.Block {
		m := model{}
		for _, from := range starts {
			for i := range int64(480) {
				h := hist(count)
				if gauge {
					h.CounterResetHint = histogram.GaugeType
				}
				m.add(ls, from+i, sample{h: h})
			}
		}
		return writeModel(t, root, m, sets)
	}
	for _, gauge := range []bool{false, true} {
		meta, err := Merge(context.Background(), []*block.Block{part(5, gauge, 0, 2000), part(50, gauge, 1000)}, root, MergeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b := open(t, root, meta)
		rows, err := b.Chunks(nil, 0, 0, 10_000)
		if err != nil || len(rows) != 3 {
			t.Fatal(rows, err)
		}
		for _, r := range rows[1:] {
			data, err := b.Data(r)
			if err != nil {
				t.Fatal(err)
			}
			var c chunkenc.HistogramChunk
			c.Reset(data)
			want := chunkenc.UnknownCounterReset
			if gauge {
				want = chunkenc.GaugeType
			}
			if got := c.GetCounterResetHeader(); got != want {
				t.Fatalf("gauge %v, chunk at %d: header %x, want %x", gauge, r.MinTime, got, want)
			}
		}
	}
}

func TestMergeStops(t *testing.T) {
	ls := labels.FromStrings("__name__", "m")
	root := t.TempDir()
	m := model{}
	m.add(ls, 1, sample{v: 1})
	b := writeModel(t, root, m, map[string]labels.Labels{ls.String(): ls})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Merge(ctx, []*block.Block{b}, root, MergeOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := Merge(context.Background(), nil, root, MergeOptions{}); err == nil {
		t.Fatal("merged nothing")
	}
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 1 {
		t.Fatalf("left %v, %v", left, err)
	}
}
