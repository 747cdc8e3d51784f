package chunk

import (
	"encoding/binary"
)

// intColumn is the head of a column of integers, and what follows it.
type intColumn struct {
	order      int
	low        uint
	size       int
	step, base int64
	slope      int64 // of order 2
	first      int64
	flags      byte
	dict       []byte // gaps of the size entries, as they are written; nil for none
	exceptions []byte // count of them, as they are written
	count      int
	lows       []byte
	symbols    []byte
	huffman    bool // symbols are Huffman coded
	rest       []byte
}

// varints reads varints off the front of bytes, until one is broken.
type varints struct {
	b      []byte
	broken bool
}

func (r *varints) byte() byte {
	if len(r.b) == 0 {
		r.broken = true
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

func (r *varints) unsigned() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.broken, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *varints) signed() int64 {
	x := r.unsigned()
	return int64(x>>1) ^ -int64(x&1)
}

// take cuts n bytes off.
func (r *varints) take(n int) []byte {
	if n > len(r.b) {
		r.broken, r.b = true, nil
		return nil
	}
	x := r.b[:n:n]
	r.b = r.b[n:]
	return x
}

// parseInts checks the frame of m residuals behind its flags and size. Exceptions, the dictionary and what is
// Huffman coded are left unchecked.
func parseInts(b []byte, flags, code byte, m int) (c intColumn, ok bool) {
	r := varints{b: b}
	c.flags, c.order, c.step = flags, int(flags&3), 1
	c.huffman = code&sizeHuffman != 0
	switch code &^= sizeHuffman; {
	case code < sizeByte:
		c.size = int(code) + 1
	case code == sizeByte:
		c.size = 256
	}
	if c.flags&flagLow != 0 {
		c.low = uint(r.byte())
	}
	if c.order > 2 || c.low > maxLow || code > sizeDict {
		return c, false
	}
	if c.flags&flagFirst != 0 {
		c.first = r.signed()
	}
	if c.flags&flagStep != 0 {
		c.step = int64(r.unsigned())
	}
	c.base = canonical(c.size, uint8(c.low))
	if c.flags&flagBase != 0 {
		c.base = r.signed()
	}
	if c.order == 2 {
		c.slope = r.signed()
	}
	if code == sizeDict {
		c.size = int(r.byte()) + 1
		c.dict = r.b
		for range c.size - 1 {
			r.unsigned()
		}
	}
	if c.flags&flagExceptions != 0 {
		n := r.unsigned()
		if n > uint64(m) {
			return c, false
		}
		c.count = int(n)
		c.exceptions = r.b
		for range 2 * c.count {
			r.unsigned()
		}
	}
	c.lows = r.take((m*int(c.low) + 7) / 8)
	switch {
	case c.huffman && c.size <= maxPacked:
		return c, false
	case c.huffman:
		n := r.unsigned()
		if n > uint64(len(r.b)) {
			return c, false
		}
		c.symbols = r.take(int(n))
	case c.size > 1:
		per := perByte(c.size)
		c.symbols = r.take((m + per - 1) / per)
	}
	c.rest = r.b
	return c, !r.broken
}

// plain tells whether residuals are nothing but symbols of deltas.
func (c *intColumn) plain() bool {
	return c.order == 1 && c.low == 0 && c.count == 0 && c.size > 1 && c.dict == nil
}

// constant tells whether all deltas are the base.
func (c *intColumn) constant() bool {
	return c.order == 1 && c.low == 0 && c.count == 0 && c.size == 1 && c.dict == nil
}

// decode makes y the integers, of which first is the first.
func (c *intColumn) decode(y []int64, first int64) bool {
	y[0] = first
	r := y[1:]
	if len(r) == 0 {
		return true
	}
	e, ok := c.expand(len(r))
	defer e.release()
	if !ok {
		return false
	}
	c.residuals(r)
	if c.count > 0 && !c.except(r) {
		return false
	}
	step := c.step
	switch c.order {
	case 0:
		for i := range r {
			r[i] = first + r[i]*step
		}
	case 1:
		acc := first
		if step == 1 {
			for i, d := range r {
				acc += d
				r[i] = acc
			}
			break
		}
		for i, d := range r {
			acc += d * step
			r[i] = acc
		}
	default:
		acc, slope := first, c.slope*step
		for i, d := range r {
			slope += d * step
			acc += slope
			r[i] = acc
		}
	}
	return true
}
