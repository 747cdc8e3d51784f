package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// MaxDense is how many samples a Dense chunk holds at most.
const MaxDense = 2048

var errBroken = errors.New("its bytes are broken")

// encodeDense makes c a Dense chunk of samples, 1 to MaxDense, whose bytes are appended to buf.
func (c *Chunk) encodeDense(buf []byte, t []int64, v []float64) []byte {
	*c = Chunk{Stats: NoStats(), Encoding: Dense}
	for i := range t {
		c.Observe(t[i], v[i])
	}
	from := len(buf)
	for i := 1; i < len(t); i++ {
		buf = binary.AppendUvarint(buf, uint64(t[i])-uint64(t[i-1]))
	}
	c.Times = buf[from:len(buf):len(buf)]
	from = len(buf)
	for _, x := range v {
		buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(x))
	}
	c.Data = buf[from:len(buf):len(buf)]
	return buf
}

func (c Chunk) appendDense(dst *Columns) error {
	if c.Samples == 0 || c.Samples > MaxDense {
		return fmt.Errorf("%d samples: want 1 to %d", c.Samples, MaxDense)
	}
	n := int(c.Samples)
	if len(c.Data) != 8*n {
		return errBroken
	}
	t, b := c.MinTime, c.Times
	dst.T = append(dst.T, t)
	for range n - 1 {
		d, k := binary.Uvarint(b)
		if k <= 0 || d == 0 || d > uint64(math.MaxInt64-t) {
			return errBroken
		}
		b = b[k:]
		t += int64(d)
		dst.T = append(dst.T, t)
	}
	if len(b) > 0 {
		return errBroken
	}
	for i := range n {
		dst.V = append(dst.V, math.Float64frombits(binary.LittleEndian.Uint64(c.Data[8*i:])))
	}
	return nil
}
