package block

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// modelSeries is a series as a test keeps it in memory.
type modelSeries struct {
	Series
	chunks []chunk.Chunk
}

func newSeries(ls labels.Labels) Series {
	return Series{Partition: uint16(idOf(ls).Lo % 4096), Labels: ls}
}

func idOf(ls labels.Labels) series.ID { return series.HashKey(series.AppendKey(nil, ls)) }

// xorChunk makes a chunk of n samples from t on, every step milliseconds.
func xorChunk(t testing.TB, from, step int64, values ...float64) chunk.Chunk {
	t.Helper()
	c := chunkenc.NewXORChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	st := chunk.NoStats()
	for i, v := range values {
		app.Append(0, from+int64(i)*step, v)
		st.Observe(from+int64(i)*step, v)
	}
	return chunk.Chunk{Stats: st, Encoding: chunk.XOR, Data: c.Bytes()}
}

// histogramChunk makes a chunk of n histograms.
func histogramChunk(t testing.TB, from, step int64, n int) chunk.Chunk {
	t.Helper()
	c := chunkenc.NewHistogramChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	st := chunk.NoStats()
	for i := range n {
		h := &histogram.Histogram{
			Count: uint64(3 * (i + 1)), Sum: float64(i), Schema: 1, ZeroThreshold: 0.001,
			PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{int64(i + 1), int64(i + 1)},
		}
		nc, _, _, err := app.AppendHistogram(nil, 0, from+int64(i)*step, h, true)
		if err != nil || nc != nil {
			t.Fatal(err, nc)
		}
		st.ObserveHistogram(from+int64(i)*step, h.Sum)
	}
	return chunk.Chunk{Stats: st, Encoding: chunk.Histogram, Data: c.Bytes()}
}

// randomModel makes n series with random label sets and chunks, in order.
func randomModel(t testing.TB, rng *rand.Rand, n int) []modelSeries {
	t.Helper()
	seen := map[string]bool{}
	var out []modelSeries
	for len(out) < n {
		var b labels.ScratchBuilder
		if rng.IntN(20) > 0 {
			b.Add("__name__", fmt.Sprintf("metric_%d", rng.IntN(5)))
		}
		for _, name := range []string{"A", "device_id", "site", "unit", "größe"} {
			if rng.IntN(3) > 0 {
				b.Add(name, fmt.Sprintf("%s-%d", name[:1], rng.IntN(n)))
			}
		}
		b.Sort()
		ls := b.Labels()
		if seen[ls.String()] {
			continue
		}
		seen[ls.String()] = true
		out = append(out, modelSeries{newSeries(ls), randomChunks(t, rng)})
	}
	slices.SortFunc(out, func(a, b modelSeries) int { return labels.Compare(a.Labels, b.Labels) })
	return out
}

func randomChunks(t testing.TB, rng *rand.Rand) []chunk.Chunk {
	odd := []float64{math.NaN(), math.Float64frombits(value.StaleNaN), math.Inf(1), math.Copysign(0, -1), 1e300}
	at := rng.Int64N(1000) - 500
	var cs []chunk.Chunk
	for range 1 + rng.IntN(4) {
		if rng.IntN(10) == 0 {
			n := 1 + rng.IntN(5)
			cs = append(cs, histogramChunk(t, at, 10, n))
			at += int64(n)*10 + rng.Int64N(100)
			continue
		}
		values := make([]float64, 1+rng.IntN(20))
		for i := range values {
			values[i] = math.Round(rng.Float64()*1000) / 10
			if rng.IntN(40) == 0 {
				values[i] = odd[rng.IntN(len(odd))]
			}
		}
		cs = append(cs, xorChunk(t, at, 10, values...))
		at += int64(len(values))*10 + rng.Int64N(100)
	}
	return cs
}

func write(t testing.TB, root string, model []modelSeries) Meta {
	t.Helper()
	w, err := Create(root, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range model {
		if err := w.Append(s.Series, s.chunks); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.Commit(Origin{Level: 2, Parents: []ulid.ULID{{1}, {2}}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func openBlock(t testing.TB, dir string) *Block {
	t.Helper()
	b, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
