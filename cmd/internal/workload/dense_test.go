package workload_test

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// BenchmarkDense reports bytes a sample of dense chunks by column, as they are and in zstd pages of
// adjacent chunks, each distinct column of times once:
//
//	MINITRUE_SERIES=dir go test ./cmd/internal/workload -run '^$' -bench Dense -benchtime 1x
//
// dir holds CSV files of one series each: milliseconds, value. Without it there is the generated load alone.
func BenchmarkDense(b *testing.B) {
	if dir := os.Getenv("MINITRUE_SERIES"); dir != "" {
		all := readDir(b, dir)
		for _, one := range all {
			b.Run(one.name, func(b *testing.B) { measure(b, [][]series.Sample{one.samples}) })
		}
		var each [][]series.Sample
		for _, one := range all {
			each = append(each, one.samples)
		}
		b.Run("all-files", func(b *testing.B) { measure(b, each) })
	}
	b.Run("generated", func(b *testing.B) { measure(b, generated(20_000, 360)) })
}

// generated are series of the load of the benchmarks, those of a metric adjacent as in a block.
func generated(n, samples int) (all [][]series.Sample) {
	shape := workload.Shape{Series: n, Samples: samples, Start: 1_700_000_000_000, Interval: 10_000, Seed: 1, Values: workload.Walk}
	for m := range workload.Metrics() {
		for i := m; i < n; i += len(workload.Metrics()) {
			w := shape.Walker(i)
			one := make([]series.Sample, samples)
			for j := range one {
				one[j] = series.Sample{T: shape.Time(j), V: w.Next()}
			}
			all = append(all, one)
		}
	}
	return all
}

type named struct {
	name    string
	samples []series.Sample
}

func readDir(b *testing.B, dir string) (all []named) {
	files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil || len(files) == 0 {
		b.Fatalf("no CSV files in %s (%v)", dir, err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		one := named{name: strings.TrimSuffix(filepath.Base(path), ".csv")}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			ts, value, _ := strings.Cut(lines.Text(), ",")
			t, err := strconv.ParseInt(ts, 10, 64)
			if err != nil {
				b.Fatalf("%s: %v", path, err)
			}
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatalf("%s: %v", path, err)
			}
			one.samples = append(one.samples, series.Sample{T: t, V: v})
		}
		f.Close()
		all = append(all, one)
	}
	return all
}

func measure(b *testing.B, all [][]series.Sample) {
	r := chunk.Rewriter{Window: math.MaxInt64}
	var xor [][]chunk.Chunk
	samples := 0
	for _, one := range all {
		cs, err := chunk.Encode(nil, chunk.Slice(one))
		if err != nil {
			b.Fatal(err)
		}
		xor = append(xor, cs)
		samples += len(one)
	}
	var times, values []byte
	chunks := 0
	seen := map[string]bool{}
	for b.Loop() {
		times, values, chunks = times[:0], values[:0], 0
		clear(seen)
		var out []chunk.Chunk
		var err error
		for _, one := range xor {
			if out, err = r.Append(out[:0], one); err != nil {
				b.Fatal(err)
			}
			for _, c := range out {
				chunks++
				values = append(values, c.Data...)
				if !seen[string(c.Times)] {
					seen[string(c.Times)] = true
					times = append(times, c.Times...)
				}
			}
		}
	}
	per := func(n int) float64 { return float64(n) / float64(samples) }
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
	b.ReportMetric(float64(chunks), "chunks")
	b.ReportMetric(per(len(times)), "times-B")
	b.ReportMetric(per(len(values)), "values-B")
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression, zstd.SpeedBestCompression} {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(per(pages(enc, times)), fmt.Sprintf("times-%v-B", level))
		b.ReportMetric(per(pages(enc, values)), fmt.Sprintf("values-%v-B", level))
	}
}

// BenchmarkDensePages decodes the generated load out of zstd pages, on one core.
func BenchmarkDensePages(b *testing.B) {
	r := chunk.Rewriter{}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1))
	if err != nil {
		b.Fatal(err)
	}
	type page struct {
		data   []byte
		chunks []chunk.Chunk // whose Data is in it
	}
	var pages []page
	var data []byte
	var cs []chunk.Chunk
	samples := 0
	flush := func() {
		pages = append(pages, page{enc.EncodeAll(data, nil), cs})
		data, cs = nil, nil
	}
	for _, one := range generated(5_000, 360) {
		xor, err := chunk.Encode(nil, chunk.Slice(one))
		if err != nil {
			b.Fatal(err)
		}
		out, err := r.Append(nil, xor)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range out {
			samples += int(c.Samples)
			data = append(data, c.Data...)
			c.Times = append([]byte(nil), c.Times...)
			cs = append(cs, c)
		}
		if len(data) > 64<<10 {
			flush()
		}
	}
	flush()
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		b.Fatal(err)
	}
	var cols chunk.Columns
	for b.Loop() {
		for _, p := range pages {
			if data, err = dec.DecodeAll(p.data, data[:0]); err != nil {
				b.Fatal(err)
			}
			rest := data
			for _, c := range p.chunks {
				n := len(c.Data)
				c.Data, rest = rest[:n], rest[n:]
				cols.Reset()
				if err := c.AppendTo(&cols); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
}

// pages is the size of data in compressed pages.
func pages(enc *zstd.Encoder, data []byte) (n int) {
	const page = 64 << 10
	for ; len(data) > 0; data = data[min(page, len(data)):] {
		p := data[:min(page, len(data))]
		n += min(len(p), len(enc.EncodeAll(p, nil)))
	}
	return n
}
