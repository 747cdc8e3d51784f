package chunk

import (
	"math"
	"math/bits"
	"slices"
)

// plan says how the residuals of integers are written: those in [base, base + size<<low) as a symbol below
// size and low raw bits, the others as exceptions.
type plan struct {
	order  uint8
	low    uint8
	size   int // 1 to maxPacked, or 256
	base   int64
	filler int     // the symbol that stands where an exception does
	dict   []int64 // nil, or what the symbols stand for after the shift, rising; size is their number then
	cost   float64 // bits, estimated
}

const (
	maxPacked = 16 // so many symbols share bytes, perByte of them one
	maxLow    = 56 // a word that is loaded from any bit of a byte holds 57

	minHuffman = 400 // symbols that a table of codes of their own pays for
	maxTable   = 16  // it is at most this part of them
)

// perByte is how many symbols below size one byte holds, as digits in base size.
func perByte(size int) int {
	switch {
	case size > maxPacked:
		return 1
	case size > 6:
		return 2
	case size > 4:
		return 3
	case size > 3:
		return 4
	case size > 2:
		return 5
	}
	return 8
}

// canonical is the base that is not written: zero is the middle symbol, so that equal residuals
// of neighbouring chunks are equal bytes.
func canonical(size int, low uint8) int64 { return -int64(size/2) << low }

// xlog[n] is n log₂ n.
var xlog = func() (t [MaxDense + 1]float32) {
	for n := 2; n <= MaxDense; n++ {
		t[n] = float32(float64(n) * math.Log2(float64(n)))
	}
	return t
}()

// median is about the median.
func median(r []int64) int64 {
	var sample [31]int64
	n := min(len(sample), len(r))
	for i := range n {
		sample[i] = r[i*len(r)/n]
	}
	slices.Sort(sample[:n])
	return sample[n/2]
}

// plan finds what is smallest after entropy coding, which takes place behind this package: pages of many
// chunks are compressed, so a symbol costs its entropy, and a byte at least a bit.
func (e *intEncoder) plan(r []int64, order uint8) plan {
	c := median(r)
	if -64 < c && c < 64 {
		c = 0
	}
	var lens [65]int32 // how many residuals have this many bits
	lo, hi := r[0], r[0]
	for _, x := range r {
		d := x - c
		lens[bits.Len64(uint64(d^d>>63))]++
		lo, hi = min(lo, x), max(hi, x)
	}
	if lo == hi {
		return plan{order: order, size: 1, base: lo, cost: 8}
	}
	best := e.packed(r, c, order)
	if n := uint64(hi) - uint64(lo); n < maxPacked && best.cost > 0 {
		if p := e.packedAt(r, lo, int(n)+1, order); p.cost+marginBits < best.cost {
			best = p
		}
	}
	margin := float64(marginBits)
	if len(r) >= minHuffman {
		margin = 0
	}
	// Wider residuals: the low that is best if symbols took eight bits, and its neighbours.
	var outside [66]float64 // what those of at least so many bits cost as exceptions
	for l := 64; l >= 0; l-- {
		outside[l] = outside[l+1] + float64(lens[l])*float64(l+exceptionBits-4)
	}
	at, least := 0, math.Inf(1)
	for low := maxLow; low >= 0; low-- {
		if cost := float64(len(r)*(low+7)) + outside[low+8]; cost < least {
			least, at = cost, low
		}
	}
	for low := max(0, at-2); low <= min(at+4, maxLow); low++ {
		if p := wide(r, c, uint8(low), order); p.cost+outside[low+8]+margin < best.cost {
			best = p
			best.cost += outside[low+8]
		}
		if outside[low+8] == 0 && (low == 0 || len(r) < minHuffman) {
			break // more low bits are no gain
		}
	}
	if best.low > 1 && repeats(r, best.low-2) {
		best = e.dictionary(r, best)
	}
	return best
}

// repeats tells whether a sample of residuals has so many equal ones but for low bits, that a dictionary
// may pay.
func repeats(r []int64, low uint8) bool {
	var sample [64]int64
	n := min(len(sample), len(r))
	for i := range n {
		sample[i] = r[i*len(r)/n] >> low
	}
	slices.Sort(sample[:n])
	return len(slices.Compact(sample[:n])) <= n*13/16
}

// dictionary is the plan with the fewest low bits such that there are at most 256 different values of the
// others, if that is better: values on an odd grid, or times in a few clusters.
func (e *intEncoder) dictionary(r []int64, best plan) plan {
	e.sorted = append(e.sorted[:0], r...)
	slices.Sort(e.sorted)
	at := -1
	for low := 0; low < int(best.low); low++ {
		cost := float64(xlog[len(r)]) + float64(low*len(r))
		entries := 0
		for i := 0; i < len(r) && entries <= 256; entries++ {
			from := i
			for hi := e.sorted[i] >> low; i < len(r) && e.sorted[i]>>low == hi; i++ {
			}
			cost += entryBits - float64(xlog[i-from])
		}
		if entries <= 256 && cost < best.cost {
			best = plan{order: best.order, low: uint8(low), size: entries, cost: cost}
			at = low
		}
	}
	if at >= 0 {
		for i, x := range e.sorted {
			if hi := x >> at; i == 0 || hi != best.dict[len(best.dict)-1] {
				best.dict = append(best.dict, hi)
			}
		}
		best.base = best.dict[0] << at
	}
	return best
}

// packed tries small sets of symbols around c.
func (e *intEncoder) packed(r []int64, c int64, order uint8) plan {
	const reach = maxPacked/2 - 1
	var hist [2*reach + 1]int32
	for _, x := range r {
		if d := uint64(x-c) + reach; d < uint64(len(hist)) {
			hist[d]++
		}
	}
	best := plan{cost: math.Inf(1)}
	m := len(r)
	in, sum := int(hist[reach]), float32(0)
	for half := 0; half <= reach; half++ {
		if half > 0 {
			a, b := hist[reach-half], hist[reach+half]
			in += int(a + b)
			sum += xlog[a] + xlog[b]
		}
		out := m - in
		if out > m/4 {
			continue
		}
		size := 2*half + 1
		cost := float64(xlog[m]-sum-xlog[int(hist[reach])+out]) + exceptionBits*float64(out)
		if half > 0 {
			cost = max(cost, byteBits*float64(m/perByte(size)))
		}
		if cost < best.cost {
			best = plan{order: order, size: size, base: c - int64(half), filler: half, cost: cost}
		}
	}
	return best
}

const (
	exceptionBits = 22  // about what an exception costs
	slopeBits     = 24  // a slope
	entryBits     = 12  // an entry of a dictionary
	tableBits     = 4   // an entry of a table of codes
	marginBits    = 16  // what a plan must be better by, so that chunks of one kind are written alike
	byteBits      = 0.4 // what a byte costs at least, however often it repeats
)

// packedAt is the plan with all residuals as symbols from lo on.
func (e *intEncoder) packedAt(r []int64, lo int64, size int, order uint8) plan {
	var hist [maxPacked]int32
	for _, x := range r {
		hist[x-lo]++
	}
	cost := xlog[len(r)]
	for _, h := range hist[:size] {
		cost -= xlog[h]
	}
	return plan{order: order, size: size, base: lo, cost: max(float64(cost), byteBits*float64(len(r)/perByte(size)))}
}

// wide is the plan with a byte a symbol, without what its exceptions cost.
func wide(r []int64, c int64, low uint8, order uint8) plan {
	c = (c + 8<<low) &^ (16<<low - 1) // where chunks of one kind agree
	p := plan{order: order, size: 256, low: low, base: c - 128<<low, filler: 128}
	var hist [256]int32
	width := uint64(256) << low
	for _, x := range r {
		u := uint64(x - p.base)
		if u >= width {
			u = 128 << low
		}
		hist[u>>low&255]++
	}
	h, different := xlog[len(r)], 0
	for _, n := range hist {
		h -= xlog[n]
		if n > 0 {
			different++
		}
	}
	m := float64(len(r))
	p.cost = max(float64(h), m)
	if len(r) >= minHuffman && low > 0 { // a table of its own is part of the cost
		if p.cost += tableBits * float64(different); different*tableBits > len(r)*8/maxTable {
			p.cost = 8 * m
		}
	}
	p.cost += m * float64(low)
	return p
}
