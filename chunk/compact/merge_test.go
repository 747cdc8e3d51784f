package compact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

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

// Series of partitions that are not kept are left out; when there is no other the block would be empty.
func TestMergeKeeps(t *testing.T) {
	root := t.TempDir()
	all, want, sets := model{}, model{}, map[string]labels.Labels{}
	keep := &shard.Set{}
	for i := range 200 { // the partition is the length of the name
		ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(1<<(i%20)*(i+1)))
		sets[ls.String()] = ls
		if i%3 == 0 {
			keep.Add(uint16(len(ls.String())))
		}
		all.add(ls, int64(i), sample{v: float64(i)})
	}
	for name, of := range all {
		if keep.Has(uint16(len(name))) {
			want[name] = of
		}
	}
	keep.Remove(uint16(len(slices.Sorted(maps.Keys(want))[0])))
	maps.DeleteFunc(want, func(name string, _ map[int64]sample) bool { return !keep.Has(uint16(len(name))) })
	if len(want) == 0 || len(want) == len(all) {
		t.Fatalf("%d of %d series are kept", len(want), len(all))
	}
	blocks := []*block.Block{writeModel(t, root, all, sets), writeModel(t, root, all, sets)}
	meta, err := Merge(context.Background(), blocks, root, MergeOptions{Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	compareModel(t, open(t, root, meta), want)
	if _, err := Merge(context.Background(), blocks, root, MergeOptions{Keep: &shard.Set{}}); !errors.Is(err, block.ErrEmpty) {
		t.Fatalf("error %v, want %v", err, block.ErrEmpty)
	}
}

// Neighbours become one chunk, but not across a window.
func TestMergeJoins(t *testing.T) {
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
	if want := []uint64{730, 530}; !slices.Equal(got, want) || meta.Level != 7 {
		t.Fatalf("chunks of %v samples, level %d; want %v", got, meta.Level, want)
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
			got, err := b.Chunk(r)
			if err != nil {
				t.Fatal(err)
			}
			var c chunkenc.HistogramChunk
			c.Reset(got.Data)
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

// Three blocks of 20,000 series with a chunk of 120 samples each, joined.
func BenchmarkMerge(b *testing.B) {
	const n = 20_000
	root := b.TempDir()
	var blocks []*block.Block
	for part := range int64(3) {
		var ss []series.Sample
		for i := range int64(120) {
			ss = append(ss, series.Sample{T: part*1_800_000 + i*15_000, V: 20 + math.Round(10*math.Sin(float64(i)))/10})
		}
		cs, err := chunk.Encode(nil, chunk.Slice(ss))
		if err != nil {
			b.Fatal(err)
		}
		w, err := block.Create(root, block.WriterOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			ls := labels.FromStrings("__name__", "temperature", "device_id", fmt.Sprintf("d%06d", i), "site", fmt.Sprint(i%100))
			if err := w.Append(block.Series{Labels: ls}, cs); err != nil {
				b.Fatal(err)
			}
		}
		meta, err := w.Commit(block.Origin{})
		if err != nil {
			b.Fatal(err)
		}
		blocks = append(blocks, open(b, root, meta))
	}
	for b.Loop() {
		if _, err := Merge(context.Background(), blocks, root, MergeOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(3*n*120*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}
