package block

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
)

// benchSeries is the i-th of many series of six labels, in order.
func benchSeries(i int, sb *labels.ScratchBuilder) labels.Labels {
	sb.Reset()
	sb.Add("__name__", fmt.Sprintf("metric_%02d", i/100_000))
	sb.Add("device_id", fmt.Sprintf("device-%07d", i%100_000))
	sb.Add("firmware", fmt.Sprintf("v1.%d", i%7))
	sb.Add("room", fmt.Sprintf("room-%04d", i%5000))
	sb.Add("site", fmt.Sprintf("site-%03d", i%200))
	sb.Add("unit", "celsius")
	return sb.Labels()
}

func writeBench(tb testing.TB, root string, n int) Meta {
	values := make([]float64, 60)
	for i := range values {
		values[i] = 20 + math.Round(10*math.Sin(float64(i)))/10
	}
	cs := []chunk.Chunk{xorChunk(tb, 0, 15_000, values...)}
	cs[0].Data = append(cs[0].Data, make([]byte, 600)...)[:130]
	w, err := Create(root, WriterOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	var sb labels.ScratchBuilder
	for i := range n {
		s := Series{Labels: benchSeries(i, &sb)}
		if err := w.Append(s, cs); err != nil {
			tb.Fatal(err)
		}
	}
	m, err := w.Commit(Origin{})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// million makes a block of a million series once for all benchmarks of a run.
func million(b *testing.B) string {
	b.Helper()
	root := filepath.Join(os.TempDir(), fmt.Sprintf("minitrue-bench-%d", os.Getppid()))
	ids, err := List(root)
	if err != nil {
		b.Fatal(err)
	}
	if len(ids) == 0 {
		return filepath.Join(root, writeBench(b, root, 1_000_000).ULID.String())
	}
	return filepath.Join(root, ids[0].String())
}

func BenchmarkWriteMillion(b *testing.B) {
	for b.Loop() {
		root := b.TempDir()
		m := writeBench(b, root, 1_000_000)
		for name, f := range m.Files {
			b.ReportMetric(float64(f.Size)/1e6, name+"-MB")
		}
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		b.ReportMetric(float64(ms.Sys)/(1<<20), "sys-MiB")
	}
}

func BenchmarkOpenMillion(b *testing.B) {
	dir := million(b)
	for b.Loop() {
		blk, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		_ = blk.Close()
	}
}

func BenchmarkPostings(b *testing.B) {
	blk := openBlock(b, million(b))
	eq := func(n, v string) *labels.Matcher { return labels.MustNewMatcher(labels.MatchEqual, n, v) }
	re := func(n, v string) *labels.Matcher { return labels.MustNewMatcher(labels.MatchRegexp, n, v) }
	rows := []struct {
		name string
		ms   []*labels.Matcher
		want int
	}{
		{"one", []*labels.Matcher{eq("__name__", "metric_03"), eq("device_id", "device-0054321")}, 1},
		{"site", []*labels.Matcher{eq("__name__", "metric_03"), eq("site", "site-017")}, 500},
		{"metric", []*labels.Matcher{eq("__name__", "metric_03")}, 100_000},
		{"regexp", []*labels.Matcher{eq("__name__", "metric_03"), re("site", "site-0.[1-4]")}, 20_000},
		{"set", []*labels.Matcher{eq("__name__", "metric_03"), re("device_id", "device-0000001|device-0000002")}, 2},
		{"not", []*labels.Matcher{eq("__name__", "metric_03"), labels.MustNewMatcher(labels.MatchNotEqual, "unit", "celsius")}, 0},
	}
	for _, r := range rows {
		b.Run(r.name, func(b *testing.B) {
			for b.Loop() {
				ords, err := blk.Postings(r.ms...)
				if err != nil || len(ords) != r.want {
					b.Fatalf("%d series, %v; want %d", len(ords), err, r.want)
				}
			}
		})
	}
}

// One series from its labels to its bytes.
func BenchmarkOneSeries(b *testing.B) {
	blk := openBlock(b, million(b))
	ms := []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "__name__", "metric_03"),
		labels.MustNewMatcher(labels.MatchEqual, "device_id", "device-0054321"),
	}
	var sb labels.ScratchBuilder
	var rows []Row
	b.ReportAllocs()
	for b.Loop() {
		ords, err := blk.Postings(ms...)
		if err != nil || len(ords) != 1 {
			b.Fatal(ords, err)
		}
		if blk.Labels(ords[0], &sb).IsEmpty() {
			b.Fatal("no labels")
		}
		if rows, err = blk.Chunks(rows[:0], ords[0], 0, math.MaxInt64); err != nil || len(rows) != 1 {
			b.Fatal(rows, err)
		}
		if _, err := blk.Chunk(rows[0]); err != nil {
			b.Fatal(err)
		}
	}
}

// The statistics of every tenth of a million series, in order.
func BenchmarkStatistics(b *testing.B) {
	blk := openBlock(b, million(b))
	var rows []Row
	for b.Loop() {
		for ord := uint32(0); ord < 100_000; ord++ {
			var err error
			if rows, err = blk.Chunks(rows[:0], ord*10, 0, math.MaxInt64); err != nil || len(rows) != 1 {
				b.Fatal(rows, err)
			}
		}
	}
}
