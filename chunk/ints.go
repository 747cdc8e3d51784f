package chunk

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/huff0"
)

// An intEncoder keeps the memory of encoding integers.
type intEncoder struct {
	y, d, dd []int64 // relative to the first and divided by the step; deltas; deltas of deltas
	width    [3]int  // the bits of all of them, by order
	sorted   []int64
	symbols  []byte
	huff     huff0.Scratch
}

// What the byte of the size says, where it is no number of contiguous symbols.
const (
	sizeByte    = 16     // 256 contiguous symbols
	sizeDict    = 17     // a dictionary of symbols
	sizeHuffman = 1 << 7 // the bytes of symbols are Huffman coded
)

// Flags of a column of integers; the lowest two bits are the order.
const (
	flagLow = 1 << (2 + iota)
	flagStep
	flagExceptions
	flagFirst // values: the first is written; it is Stats.First otherwise
	flagBase
	flagPatches // values: there are patches
)

// append appends x[1:] relative to x[0], and takes flags that are the caller's. It returns the cost in bits
// that is estimated for it after entropy coding.
func (e *intEncoder) append(buf []byte, x []int64, flags byte, first []byte) ([]byte, float64) {
	step := e.prepare(x)
	p := plan{size: 1, order: 1, base: 0}
	r := e.d
	if len(r) > 0 {
		p.cost = math.Inf(1)
		likely := min(e.width[0], e.width[1], e.width[2])
		likely += likely/4 + len(r)/8
		residuals := [3][]int64{e.y[1:], e.d, e.dd}
		for _, order := range [3]uint8{1, 0, 2} { // the first of equal ones is the shortest to write
			if e.width[order] > likely {
				continue
			}
			q := e.plan(residuals[order], order)
			if order == 2 {
				q.cost += slopeBits
			}
			if q.cost < p.cost {
				p, r = q, residuals[order]
			}
		}
	}
	return e.write(buf, p, r, step, flags, first), p.cost
}

// prepare makes y, d and dd, and returns the step.
func (e *intEncoder) prepare(x []int64) uint64 {
	n := len(x)
	e.y = append(e.y[:0], x...)
	e.d = slices.Grow(e.d[:0], n)[:n-1]
	e.dd = slices.Grow(e.dd[:0], n)[:n-1]
	y := e.y
	var step uint64
	for i := range y {
		y[i] -= x[0]
		if i > 0 && step != 1 {
			d := y[i] - y[i-1]
			step = gcd(step, uint64(max(d, -d)))
		}
	}
	if step>>62 != 0 || step == 0 {
		step = 1
	}
	if step > 1 {
		for i := range y {
			if y[i]%int64(step) != 0 { // it overflowed
				return e.undivided(x)
			}
		}
		for i := range y {
			y[i] /= int64(step)
		}
	}
	e.differences()
	return step
}

func (e *intEncoder) undivided(x []int64) uint64 {
	for i := range x {
		e.y[i] = x[i] - x[0]
	}
	e.differences()
	return 1
}

// differences makes d, dd and width.
func (e *intEncoder) differences() {
	e.width = [3]int{}
	if len(e.y) < 2 {
		return
	}
	last := e.y[1] // the slope that is written
	before := int64(0)
	for i, y := range e.y[1:] {
		d := y - before
		dd := d - last
		e.d[i], e.dd[i] = d, dd
		e.width[0] += bits.Len64(uint64(y ^ y>>63))
		e.width[2] += bits.Len64(uint64(dd ^ dd>>63))
		before, last = y, d
	}
	usual := median(e.d)
	for _, d := range e.d {
		d -= usual
		e.width[1] += bits.Len64(uint64(d ^ d>>63))
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// write writes the column that doc.go draws.
func (e *intEncoder) write(buf []byte, p plan, r []int64, step uint64, flags byte, first []byte) []byte {
	out := 0
	width := uint64(p.size) << p.low
	if p.dict == nil {
		for _, x := range r {
			if uint64(x-p.base) >= width {
				out++
			}
		}
	}
	flags |= p.order
	for _, f := range []struct {
		is  bool
		bit byte
	}{{p.low > 0, flagLow}, {step > 1, flagStep}, {out > 0, flagExceptions}, {p.dict != nil || p.base != canonical(p.size, p.low), flagBase}} {
		if f.is {
			flags |= f.bit
		}
	}
	e.digits(r, p)
	size, symbols := p.code(), e.symbols
	if packed := e.huffman(p); packed != nil {
		size, symbols = size|sizeHuffman, packed
	}
	buf = append(buf, flags, size)
	if p.low > 0 {
		buf = append(buf, p.low)
	}
	buf = append(buf, first...)
	if step > 1 {
		buf = binary.AppendUvarint(buf, step)
	}
	if flags&flagBase != 0 {
		buf = binary.AppendVarint(buf, p.base)
	}
	if p.order == 2 {
		buf = binary.AppendVarint(buf, e.y[1])
	}
	if p.dict != nil {
		buf = append(buf, byte(p.size-1))
		for i := 1; i < p.size; i++ {
			buf = binary.AppendUvarint(buf, uint64(p.dict[i]-p.dict[i-1]-1))
		}
	}
	if out > 0 {
		buf = binary.AppendUvarint(buf, uint64(out))
		last := -1
		for i, x := range r {
			if u := x - p.base; uint64(u) >= width {
				buf = binary.AppendUvarint(buf, uint64(i-last-1))
				buf = binary.AppendVarint(buf, u)
				last = i
			}
		}
	}
	if p.low > 0 {
		buf = appendLow(buf, r, p)
	}
	if size&sizeHuffman != 0 {
		buf = binary.AppendUvarint(buf, uint64(len(symbols)))
	}
	return append(buf, symbols...)
}

// code is the byte of the size.
func (p *plan) code() byte {
	switch {
	case p.dict != nil:
		return sizeDict
	case p.size == 256:
		return sizeByte
	}
	return byte(p.size - 1)
}

// huffman returns the bytes of symbols Huffman coded, or nil where pages compress them better: where they share
// bytes, or are too few for a table of their own.
func (e *intEncoder) huffman(p plan) []byte {
	if len(e.symbols) < minHuffman || p.size <= maxPacked {
		return nil
	}
	e.huff.Reuse = huff0.ReusePolicyNone
	out, _, err := huff0.Compress4X(e.symbols, &e.huff)
	if err != nil || len(out) > len(e.symbols)*15/16 || len(e.huff.OutTable) > len(e.symbols)/maxTable {
		return nil
	}
	return out
}

// appendLow appends the low bits of residuals, the first in the lowest bits.
func appendLow(buf []byte, r []int64, p plan) []byte {
	var acc uint64
	n := uint(0)
	mask := uint64(1)<<p.low - 1
	for _, x := range r {
		l := uint64(x-p.base) & mask
		acc |= l << n
		if n += uint(p.low); n >= 64 {
			buf = binary.LittleEndian.AppendUint64(buf, acc)
			n -= 64
			acc = l >> (uint(p.low) - n)
		}
	}
	for ; n > 0; n -= min(n, 8) {
		buf = append(buf, byte(acc))
		acc >>= 8
	}
	return buf
}

// digits makes symbols the bytes of symbols, the first of a byte as its lowest digit.
func (e *intEncoder) digits(r []int64, p plan) {
	e.symbols = e.symbols[:0]
	if p.size == 1 {
		return
	}
	per := perByte(p.size)
	width := uint64(p.size) << p.low
	for len(r) > 0 {
		n := min(per, len(r))
		b := 0
		for i := n - 1; i >= 0; i-- {
			s := p.filler
			if p.dict != nil {
				s, _ = slices.BinarySearch(p.dict, r[i]>>p.low)
			} else if u := uint64(r[i] - p.base); u < width {
				s = int(u >> p.low)
			}
			b = b*p.size + s
		}
		e.symbols = append(e.symbols, byte(b))
		r = r[n:]
	}
}
