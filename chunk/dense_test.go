package chunk

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

func denseOf(c Columns) Chunk {
	d, _ := new(denseEncoder).encode(nil, c.T, c.V)
	return d
}

// roundTrip encodes and decodes samples, and appends them to samples that are there.
func roundTrip(t testing.TB, e *denseEncoder, want Columns) Chunk {
	t.Helper()
	c, _ := e.encode(nil, want.T, want.V)
	got := Columns{T: []int64{7}, V: []float64{7}}
	if err := c.AppendTo(&got); err != nil {
		t.Fatalf("%d samples: %v (times %x, values %x)", len(want.T), err, c.Times, c.Data)
	}
	if got.T[0] != 7 || got.V[0] != 7 || !sameColumns(Columns{got.T[1:], got.V[1:]}, want) {
		t.Fatalf("%d samples changed (times %x, values %x)", len(want.T), c.Times, c.Data)
	}
	return c
}

func TestDenseIsExact(t *testing.T) {
	var e denseEncoder
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 6))
		roundTrip(t, &e, randomColumns(rng, 1+rng.IntN(1<<rng.IntN(12))))
	}
}

// Every pattern of bits survives, among decimals, too.
func TestDenseKeepsBits(t *testing.T) {
	var e denseEncoder
	stale := math.Float64frombits(value.StaleNaN)
	odd := append(odd(), stale, -stale, math.MaxFloat64, -math.SmallestNonzeroFloat64, 1<<53, 1<<53+2, 0.1+0.2, 5.827000141143799)
	for i := range odd {
		for _, where := range []int{0, 1, 30, 59} {
			c := sensor(60)
			c.V[where] = odd[i]
			c.V[(where+7)%60] = odd[(i+1)%len(odd)]
			roundTrip(t, &e, c)
		}
		same := sensor(60)
		for j := range same.V {
			same.V[j] = odd[i]
		}
		roundTrip(t, &e, same)
	}
}

// Times at the ends of int64, whose differences do not fit into one.
func TestDenseExtremeTimes(t *testing.T) {
	var e denseEncoder
	const lo, hi = math.MinInt64, math.MaxInt64
	for _, times := range [][]int64{
		{lo}, {hi}, {lo, hi}, {lo, 0, hi}, {lo, lo + 1, hi - 1, hi}, {-1, 0}, {lo, -1}, {0, hi},
		{lo, lo + 1000, lo + 2000, hi - 1000}, {lo, lo/2 - 1, 0, hi / 2, hi - 1}, {lo, lo + 1<<62, lo + 1<<62 + 1<<61},
	} {
		roundTrip(t, &e, Columns{times, make([]float64, len(times))})
	}
}

// Equal schedules have equal bytes wherever they begin, and regular ones a few.
func TestDenseTimes(t *testing.T) {
	a, b := sensor(MaxDense), sensor(MaxDense)
	for i := range b.T {
		b.T[i] += 123
	}
	x, y := denseOf(a), denseOf(b)
	if !bytes.Equal(x.Times, y.Times) || len(x.Times) > 8 {
		t.Fatalf("times %x and %x", x.Times, y.Times)
	}
	gap := Columns{append(a.T[:500:500], a.T[501:]...), a.V[1:]}
	if x := denseOf(gap); len(x.Times) > 16 {
		t.Fatalf("with a gap, times are %x", x.Times)
	}
}

var update = flag.Bool("update", false, "write testdata/dense.golden anew")

// The bytes of files: what was written once is read for ever. With -update, the file is written anew.
func TestDenseGolden(t *testing.T) {
	walk := func(n int, next func(i int) (int64, float64)) (c Columns) {
		for i := range n {
			at, v := next(i)
			c.T, c.V = append(c.T, at), append(c.V, v)
		}
		return c
	}
	// below gives numbers that do not repeat soon.
	below := func(i, n int) int64 { return int64(uint64(i+1) * 0x9e3779b97f4a7c15 >> 33 % uint64(n)) }
	rows := []struct {
		name string
		c    Columns
	}{
		{"one", walk(1, func(int) (int64, float64) { return 5, 21.5 })},
		{"constant", walk(9, func(i int) (int64, float64) { return int64(i) * 10_000, 21.5 })},
		{"decimals", walk(12, func(i int) (int64, float64) { return int64(i) * 10_000, float64(215+below(i, 3)) / 10 })},
		{"a byte each", walk(12, func(i int) (int64, float64) { return int64(i*10_000 + i/7*3000), float64(below(i, 90)) / 100 })},
		{"low bits", walk(12, func(i int) (int64, float64) { return 1000*int64(i) + below(i, 900), float64(below(i, 100_000)) })},
		{"patches", walk(90, func(i int) (int64, float64) {
			odd := map[int]float64{3: math.Copysign(0, -1), 7: math.NaN(), 8: 0.1 + 0.2, 20: math.Inf(1)}
			if v, ok := odd[i]; ok {
				return int64(i), v
			}
			return int64(i), float64(10+below(i, 500)) / 10
		})},
		{"float32", walk(12, func(i int) (int64, float64) { return int64(i), float64(float32(5.8 + float64(below(i, 90))/1000)) })},
		{"bits", walk(6, func(i int) (int64, float64) { return int64(i), math.Sqrt(float64(i + 2)) })},
		{"accelerating", walk(9, func(i int) (int64, float64) { return int64(i), float64(i * i * 1000) })},
		{"stale first", walk(3, func(i int) (int64, float64) {
			return int64(i), []float64{math.Float64frombits(value.StaleNaN), 4, 5}[i]
		})},
		{"dictionary", walk(40, func(i int) (int64, float64) {
			return int64(i), []float64{0, 12_345, 99_999, 777_777}[below(i, 4)]
		})},
		{"Huffman", walk(420, func(i int) (int64, float64) {
			return int64(i) * 1000, float64(50+below(i, 4)*below(i, 7)) / 10
		})},
	}
	const path = "testdata/dense.golden"
	if *update {
		var out strings.Builder
		for _, r := range rows {
			c := denseOf(r.c)
			fmt.Fprintf(&out, "%s\t%x\t%x\n", r.name, c.Times, c.Data)
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	if len(lines) != len(rows) {
		t.Fatalf("%d lines in %s, want %d", len(lines), path, len(rows))
	}
	for i, r := range rows {
		c := denseOf(r.c)
		if got := fmt.Sprintf("%s\t%x\t%x", r.name, c.Times, c.Data); got != lines[i] {
			t.Errorf("encoded to\n%s\nwant\n%s", got, lines[i])
		}
		field := strings.Split(lines[i], "\t")
		var got Columns
		c.Times, _ = hex.DecodeString(field[1])
		c.Data, _ = hex.DecodeString(field[2])
		if err := c.AppendTo(&got); err != nil || !sameColumns(got, r.c) {
			t.Errorf("%s: %v, or samples changed", r.name, err)
		}
	}
}

// columnsFrom reads samples out of fuzzed bytes.
func columnsFrom(b []byte) (c Columns) {
	at := int64(0)
	for len(b) >= 4 && len(c.T) < MaxDense {
		k := b[0]
		at += 1 + int64(b[1])<<(k>>4)
		if len(c.T) > 0 && at <= c.T[len(c.T)-1] {
			break
		}
		v, n := float64(int16(binary.LittleEndian.Uint16(b[2:]))), 4
		switch k & 7 {
		case 0:
			v /= 10
		case 1:
			v /= 1000
		case 2:
			v = float64(float32(v / 1000))
		case 3:
			if len(b) >= 12 {
				v, n = math.Float64frombits(binary.LittleEndian.Uint64(b[4:])), 12
			}
		case 4:
			v = math.Float64frombits(math.Float64bits(v/100) + uint64(b[1]))
		}
		c.T, c.V = append(c.T, at), append(c.V, v)
		b = b[n:]
	}
	return c
}

func FuzzDenseEncode(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add(bytes.Repeat([]byte{0, 10, 1, 0, 0, 10, 2, 0, 3, 10, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8}, 50))
	var e denseEncoder
	f.Fuzz(func(t *testing.T, b []byte) {
		if c := columnsFrom(b); len(c.T) > 0 {
			roundTrip(t, &e, c)
		}
	})
}

// Any bytes decode to so many samples as are asked for, in order, or are refused.
func FuzzDenseDecode(f *testing.F) {
	for seed := range uint64(20) {
		c := denseOf(randomColumns(rand.New(rand.NewPCG(seed, 7)), 600))
		f.Add(c.Times, c.Data, c.Samples, c.MinTime, c.MaxTime, c.First)
	}
	f.Fuzz(func(t *testing.T, times, data []byte, samples uint64, mint, maxt int64, first float64) {
		c := Chunk{Stats: Stats{Samples: samples, MinTime: mint, MaxTime: maxt, First: first}, Encoding: Dense, Times: times, Data: data}
		got := Columns{T: []int64{7}, V: []float64{7}}
		if err := c.AppendTo(&got); err != nil {
			if len(got.T) != 1 || len(got.V) != 1 {
				t.Fatal("samples of a broken chunk")
			}
			return
		}
		if len(got.T) != int(samples)+1 || len(got.V) != len(got.T) || got.T[1] != mint || got.T[samples] != maxt {
			t.Fatalf("%d samples, want %d", len(got.T)-1, samples)
		}
		for i := 2; i < len(got.T); i++ {
			if got.T[i] <= got.T[i-1] {
				t.Fatal("times do not rise")
			}
		}
	})
}

// A chunk that is cut, longer or has a flipped bit never panics, and none is decoded that lacks its end.
func TestDenseBroken(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 8))
		c := denseOf(randomColumns(rng, 2+rng.IntN(600)))
		var cols Columns
		for _, column := range []*[]byte{&c.Times, &c.Data} {
			whole := *column
			for _, b := range [][]byte{whole[:rng.IntN(len(whole))], append(whole[:len(whole):len(whole)], 0)} {
				*column = b
				if err := c.AppendTo(&cols); err == nil && len(b) > len(whole) {
					t.Fatalf("seed %d: decoded with a byte too many", seed)
				}
			}
			for range 20 {
				b := bytes.Clone(whole)
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
				*column = b
				_ = c.AppendTo(&cols)
			}
			*column = whole
		}
		for _, n := range []uint64{0, c.Samples - 1, c.Samples + 1, MaxDense + 1, math.MaxUint64} {
			d := c
			if d.Samples = n; d.AppendTo(&cols) == nil {
				t.Fatalf("seed %d: decoded %d samples of %d", seed, n, c.Samples)
			}
		}
	}
}
