package store

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// benchSeries is how many series the benchmarks below have, with a sample every 10 s.
const benchSeries = 50_000

func benchBatches() []*series.Batch {
	var batches []*series.Batch
	for i := range benchSeries {
		if i%2000 == 0 {
			batches = append(batches, &series.Batch{})
		}
		b := batches[len(batches)-1]
		key := series.AppendKey(nil, labels.FromStrings("__name__", "temperature", "device_id", fmt.Sprint("d", i), "site", fmt.Sprint("s", i%10)))
		b.Series = append(b.Series, series.Entry{Key: key, First: len(b.Samples), Count: 1})
		b.Samples = append(b.Samples, series.Sample{T: epoch, V: float64(i)})
	}
	return batches
}

func step(b *testing.B, s *Store, batches []*series.Batch) {
	for _, batch := range batches {
		for i := range batch.Samples {
			batch.Samples[i].T += 10_000
			batch.Samples[i].V += float64(i % 3)
		}
		if err := s.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// What Append costs while nobody wants digests, and when somebody does. The time is that of the log as well.
func BenchmarkAppend(b *testing.B) {
	for _, sums := range []bool{false, true} {
		b.Run(fmt.Sprint("sums=", sums), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{MemtableBytes: 1 << 40})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			batches := benchBatches()
			step(b, s, batches)
			if sums {
				s.startSums()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				step(b, s, batches)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries), "ns/sample")
		})
	}
}

// What Digests costs: when nothing is known, of samples in memory and of some in blocks; and when a sample of each series has come since.
func BenchmarkDigests(b *testing.B) {
	const steps = 60
	for _, r := range []struct {
		name   string
		blocks int
		again  bool
	}{{"first, memory", 0, false}, {"first, blocks", 4, false}, {"again", 4, true}} {
		b.Run(r.name, func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			batches := benchBatches()
			for i := range steps {
				step(b, s, batches)
				if r.blocks > 0 && i%(steps/r.blocks) == 0 {
					if err := s.Flush(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
			all := func() {
				if _, err := s.Digests(b.Context(), math.MinInt64, math.MaxInt64); err != nil {
					b.Fatal(err)
				}
			}
			all() // what blocks know of themselves
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				if step(b, s, batches); !r.again {
					s.ledger.reset()
				}
				b.StartTimer()
				all()
			}
		})
	}
}
