package chunk

import (
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/huff0"
)

// expander decodes Huffman codes.
type expander struct {
	huff    huff0.Scratch
	symbols [MaxDense]byte
}

var expanders = sync.Pool{New: func() any { return new(expander) }}

// expand decodes the symbols of m residuals if they are Huffman coded. The expander belongs to them
// until release.
func (c *intColumn) expand(m int) (*expander, bool) {
	if !c.huffman {
		return nil, true
	}
	e := expanders.Get().(*expander)
	s, rest, err := huff0.ReadTable(c.symbols, &e.huff)
	if err == nil {
		c.symbols, err = s.Decoder().Decompress4X(e.symbols[:m:m], rest)
	}
	return e, err == nil && len(c.symbols) == m
}

func (e *expander) release() {
	if e != nil {
		expanders.Put(e)
	}
}

// residuals unpacks symbols and low bits.
func (c *intColumn) residuals(r []int64) {
	base := c.base
	switch {
	case c.dict != nil:
		c.entries(r)
	case c.size == 1:
		for i := range r {
			r[i] = base
		}
	case c.size == 256:
		s := c.symbols[:len(r)]
		low := c.low & 63
		for i, b := range s {
			r[i] = int64(b)<<low + base
		}
	default:
		unpack(r, c.symbols, c.size, c.low, base)
	}
	if c.low > 0 {
		addLows(r, c.lows, c.low)
	}
}

// entries looks symbols up in the dictionary.
func (c *intColumn) entries(r []int64) {
	var dict [256]int64
	gaps := varints{b: c.dict}
	for i, x := 0, c.base; i < c.size; i++ {
		dict[i] = x
		x += int64(gaps.unsigned()+1) << c.low
	}
	switch {
	case c.size == 1:
		clear(r)
	case c.size <= maxPacked:
		unpack(r, c.symbols, c.size, 0, 0)
	default:
		for i, b := range c.symbols[:len(r)] {
			r[i] = int64(b)
		}
	}
	for i, s := range r {
		r[i] = dict[s&255]
	}
}

// addLows adds low bits, which are 1 to maxLow wide.
func addLows(r []int64, b []byte, low uint) {
	mask := uint64(1)<<(low&63) - 1
	i := 0
	// A load of eight bytes holds any maxLow bits from any bit of its first byte.
	for at := uint(0); i < len(r); i++ {
		from := at >> 3
		if from+8 > uint(len(b)) {
			break
		}
		r[i] += int64(binary.LittleEndian.Uint64(b[from:]) >> (at & 7) & mask)
		at += low
	}
	if i == len(r) {
		return
	}
	var tail [16]byte // less than eight bytes are left
	at := uint(i) * low
	copy(tail[:8], b[at>>3:])
	for at &= 7; i < len(r); i++ {
		r[i] += int64(binary.LittleEndian.Uint64(tail[at>>3&7:]) >> (at & 7) & mask)
		at += low
	}
}

// digits[size] has for each byte its digits in base size, the lowest first.
var digits = func() (t [maxPacked + 1][256]uint64) {
	for size := 2; size <= maxPacked; size++ {
		for b := range 256 {
			x := b
			for i := range perByte(size) {
				t[size][b] |= uint64(x%size) << (8 * i)
				x /= size
			}
		}
	}
	return t
}()

// unpack writes the residuals of symbols that share bytes.
func unpack(r []int64, symbols []byte, size int, low uint, base int64) {
	table := &digits[size]
	low &= 63
	switch per := perByte(size); per {
	case 2:
		for len(r) >= 2 && len(symbols) > 0 {
			w := table[symbols[0]]
			r[0] = int64(w&0xff)<<low + base
			r[1] = int64(w>>8)<<low + base
			r, symbols = r[2:], symbols[1:]
		}
	case 3:
		for len(r) >= 3 && len(symbols) > 0 {
			w := table[symbols[0]]
			r[0] = int64(w&0xff)<<low + base
			r[1] = int64(w>>8&0xff)<<low + base
			r[2] = int64(w>>16)<<low + base
			r, symbols = r[3:], symbols[1:]
		}
	default:
		for len(r) >= per && len(symbols) > 0 {
			w := table[symbols[0]]
			for i := range r[:per] {
				r[i] = int64(w&0xff)<<low + base
				w >>= 8
			}
			r, symbols = r[per:], symbols[1:]
		}
	}
	if len(r) > 0 {
		w := table[symbols[0]]
		for i := range r {
			r[i] = int64(w&0xff)<<low + base
			w >>= 8
		}
	}
}

// except puts exceptions in place.
func (c *intColumn) except(r []int64) bool {
	in := varints{b: c.exceptions}
	at := uint64(0)
	for range c.count {
		at += in.unsigned()
		if at >= uint64(len(r)) {
			return false
		}
		r[at] = in.signed() + c.base
		at++
	}
	return true
}
