package chunk

import (
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

func BenchmarkDense(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, r := range []struct {
		name string
		step int64
	}{{"temperature", 2}, {"humidity", 3}, {"pressure", 1}, {"co2", 12}, {"power", 90}} {
		c := sensor(MaxDense)
		x := int64(2000)
		for i := range c.V {
			x += rng.Int64N(2*r.step+1) - r.step
			c.V[i] = float64(x) / 10
		}
		d := denseOf(c)
		per := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxDense), "ns/sample")
		}
		b.Run("decode/"+r.name, func(b *testing.B) {
			var cols Columns
			for b.Loop() {
				cols.Reset()
				if err := d.AppendTo(&cols); err != nil {
					b.Fatal(err)
				}
			}
			per(b)
		})
		b.Run("encode/"+r.name, func(b *testing.B) {
			var e denseEncoder
			var buf []byte
			for b.Loop() {
				_, buf = e.encode(buf[:0], c.T, c.V)
			}
			per(b)
		})
		b.Run("stats/"+r.name, func(b *testing.B) {
			for b.Loop() {
				s := NoStats()
				s.ObserveColumns(c)
			}
			per(b)
		})
	}
	b.Run("iterator", func(b *testing.B) {
		d := denseOf(sensor(MaxDense))
		var it chunkenc.Iterator
		for b.Loop() {
			it, _ = d.Iterator(it)
			for it.Next() != chunkenc.ValNone {
				it.At()
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxDense), "ns/sample")
	})
}
