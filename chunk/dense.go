package chunk

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// MaxDense is how many samples a Dense chunk holds at most. On real series, 1024 take 6 % more bytes and
// 4096 one percent less, while the edges of queries decode twice as many.
const MaxDense = 2048

var errBroken = errors.New("its bytes are broken")

// A denseEncoder keeps the memory of encoding chunks.
type denseEncoder struct {
	times  intEncoder
	values valueEncoder
}

// encode returns a Dense chunk of samples, 1 to MaxDense, whose bytes are appended to buf.
func (e *denseEncoder) encode(buf []byte, t []int64, v []float64) (Chunk, []byte) {
	c := Chunk{Stats: NoStats(), Encoding: Dense}
	c.ObserveColumns(Columns{t, v})
	from := len(buf)
	if len(t) > 1 {
		buf, _ = e.times.append(buf, t, 0, nil)
	}
	c.Times = buf[from:len(buf):len(buf)]
	from = len(buf)
	buf = e.values.append(buf, v, c.First)
	c.Data = buf[from:len(buf):len(buf)]
	return c, buf
}

func (c *Chunk) appendDense(dst *Columns) error {
	if c.Samples == 0 || c.Samples > MaxDense {
		return fmt.Errorf("%d samples: want 1 to %d", c.Samples, MaxDense)
	}
	n := int(c.Samples)
	dst.T = slices.Grow(dst.T, n)
	t := dst.T[len(dst.T) : len(dst.T)+n]
	if !decodeTimes(t, c.Times, c.MinTime) || t[n-1] != c.MaxTime {
		return fmt.Errorf("times: %w", errBroken)
	}
	dst.V = slices.Grow(dst.V, n)
	v := dst.V[len(dst.V) : len(dst.V)+n]
	if !decodeValues(v, c.Data, c.First) {
		return fmt.Errorf("values: %w", errBroken)
	}
	dst.T, dst.V = dst.T[:len(dst.T)+n], dst.V[:len(dst.V)+n]
	return nil
}

func decodeTimes(t []int64, b []byte, first int64) bool {
	if len(t) == 1 {
		t[0] = first
		return len(b) == 0
	}
	if len(b) < 2 {
		return false
	}
	c, ok := parseInts(b[2:], b[0], b[1], len(t)-1)
	if !ok || len(c.rest) > 0 || c.flags&(flagFirst|flagPatches) != 0 {
		return false
	}
	if c.constant() {
		return c.regular(t, first)
	}
	if !c.decode(t, first) {
		return false
	}
	last := first
	rising := true
	for _, x := range t[1:] {
		rising = rising && x > last
		last = x
	}
	return rising
}

// regular makes times at one interval.
func (c *intColumn) regular(t []int64, first int64) bool {
	step := uint64(c.base * c.step)
	if left := uint64(math.MaxInt64) - uint64(first); step == 0 || step > left/uint64(len(t)-1) {
		return false // it does not rise, or passes the end of time
	}
	for i := range t {
		t[i] = first
		first += int64(step)
	}
	return true
}
