package chunk

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// viaChunkenc decodes an XOR chunk with chunkenc's iterator.
func viaChunkenc(data []byte) (c Columns, err error) {
	d, err := Chunk{Encoding: XOR, Data: data}.Decode()
	if err != nil {
		return c, err
	}
	it := d.Iterator(nil)
	for it.Next() != chunkenc.ValNone {
		t, v := it.At()
		c.T, c.V = append(c.T, t), append(c.V, v)
	}
	return c, it.Err()
}

func sameColumns(a, b Columns) bool {
	return slices.Equal(a.T, b.T) && slices.EqualFunc(a.V, b.V, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
}

// randomColumns are samples of every kind: regular, jittered, extreme; decimals, single precision, any bits.
func randomColumns(rng *rand.Rand, n int) (c Columns) {
	at := int64(1_700_000_000_000) - rng.Int64N(2)*1_800_000_000_000
	step := int64(1) << rng.IntN(20)
	jitter, values, scale := rng.IntN(4), rng.IntN(9), math.Pow10(rng.IntN(7))
	walk := rng.Int64N(100_000)
	for range n {
		at += step
		switch jitter {
		case 1:
			at += rng.Int64N(step + 1)
		case 2:
			if rng.IntN(20) == 0 {
				at += rng.Int64N(1 << rng.IntN(45))
			}
		}
		walk += rng.Int64N(2<<rng.IntN(values+1)) - int64(1)<<rng.IntN(values+1)/2
		v := float64(walk) / scale
		switch values {
		case 1:
			v = float64(float32(v))
		case 2:
			v = math.Float64frombits(rng.Uint64())
		case 3:
			v = v * 1.1
		case 4:
			v = rng.NormFloat64()
		case 5:
			v = math.Float64frombits(rng.Uint64() >> rng.IntN(64))
		}
		if rng.IntN(100) == 0 {
			v = odd()[rng.IntN(len(odd()))]
		}
		c.T, c.V = append(c.T, at), append(c.V, v)
	}
	if jitter == 3 && n > 3 { // the ends of time
		c.T[0], c.T[n-2], c.T[n-1] = math.MinInt64, math.MaxInt64-rng.Int64N(1<<40), math.MaxInt64
	}
	return c
}

func xorOf(t testing.TB, c Columns) []byte {
	x := chunkenc.NewXORChunk()
	app, err := x.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.T {
		app.Append(0, c.T[i], c.V[i])
	}
	return x.Bytes()
}

func TestXORIsChunkenc(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		want := randomColumns(rng, rng.IntN(600))
		data := xorOf(t, want)
		var got Columns
		if err := (Chunk{Encoding: XOR, Data: data}).AppendTo(&got); err != nil || !sameColumns(got, want) {
			t.Fatalf("seed %d: %v, samples differ", seed, err)
		}
		if len(want.T) == 0 {
			continue
		}
		// A chunk that lost its end is refused, if chunkenc refuses it.
		data = data[:2+rng.IntN(len(data)-2)]
		got.Reset()
		_, theirs := viaChunkenc(data)
		ours := Chunk{Encoding: XOR, Data: data}.AppendTo(&got)
		if theirs != nil && ours == nil || ours != nil && len(got.T) > 0 {
			t.Fatalf("seed %d: %v, chunkenc has %v", seed, ours, theirs)
		}
	}
}

// Any bytes decode to what chunkenc makes of them, or are refused.
func FuzzXOR(f *testing.F) {
	f.Add(xorOf(f, Columns{T: []int64{1, 2, 300, 400}, V: []float64{1, 2.5, 2.5, -1}}))
	f.Add(binary.BigEndian.AppendUint16(nil, 4))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got Columns
		if err := (Chunk{Encoding: XOR, Data: data}).AppendTo(&got); err != nil {
			return
		}
		want, err := viaChunkenc(data)
		if err != nil || !sameColumns(got, want) {
			t.Fatalf("decoded %d samples, chunkenc has %d and %v", len(got.T), len(want.T), err)
		}
	})
}

// sensor are n samples of a regular decimal sensor.
func sensor(n int) (c Columns) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := int64(2150)
	for i := range n {
		x += rng.Int64N(41) - 20
		c.T, c.V = append(c.T, 1_700_000_000_000+int64(i)*10_000), append(c.V, float64(x)/100)
	}
	return c
}

func BenchmarkXOR(b *testing.B) {
	c := Chunk{Encoding: XOR, Data: xorOf(b, sensor(MaxSamples))}
	b.Run("batch", func(b *testing.B) {
		var cols Columns
		for b.Loop() {
			cols.Reset()
			if err := c.AppendTo(&cols); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxSamples), "ns/sample")
	})
	b.Run("chunkenc", func(b *testing.B) {
		var it chunkenc.Iterator
		for b.Loop() {
			it, _ = c.Iterator(it)
			for it.Next() != chunkenc.ValNone {
				it.At()
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxSamples), "ns/sample")
	})
}
