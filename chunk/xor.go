package chunk

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

var errShort = errors.New("its bytes end too early")

// An xorReader decodes chunkenc's XOR chunks many samples at a time, and so keeps what a sample follows from in
// registers. The format is Gorilla's (Pelkonen et al. 2015) with the widths of Prometheus:
//
//	count (2 bytes) │ time (varint) │ value (8 bytes) │ delta (uvarint) │ value bits │ then for each: time bits │ value bits
type xorReader struct {
	t, delta    int64
	v           uint64
	lead, trail uint
}

// An xorReader reads up to xorReach bytes from where a sample begins: at most 145 bits, and words around them.
const xorReach = 32

// appendXOR decodes an XOR chunk.
func appendXOR(dst *Columns, data []byte) error {
	if len(data) < 2 {
		return errShort
	}
	n := int(binary.BigEndian.Uint16(data))
	if n > 4*len(data) { // a sample takes two bits
		return errShort
	}
	b := data[2:]
	dst.T, dst.V = slices.Grow(dst.T, n), slices.Grow(dst.V, n)
	from := len(dst.T)
	t, v := dst.T[from:from+n], dst.V[len(dst.V):len(dst.V)+n]
	if n > 0 {
		if err := decodeXOR(t, v, b); err != nil {
			return err
		}
	}
	dst.T, dst.V = dst.T[:from+n], dst.V[:len(dst.V)+n]
	return nil
}

func decodeXOR(t []int64, v []float64, b []byte) error {
	first, k := binary.Varint(b)
	if k <= 0 || len(b) < k+8 {
		return errShort
	}
	r := xorReader{t: first, v: binary.BigEndian.Uint64(b[k:])}
	b = b[k+8:]
	t[0], v[0] = r.t, math.Float64frombits(r.v)
	if t, v = t[1:], v[1:]; len(t) == 0 {
		return nil
	}
	delta, k := binary.Uvarint(b)
	if k <= 0 {
		return errShort
	}
	r.delta = int64(delta)
	b = b[k:]
	// Of the second sample there is the value only: its delta was read.
	at, ok := uint(0), true
	n := 0
	if len(b) >= xorReach {
		n, at, ok = r.run(t[:1], v[:1], b, 0, 1, true)
		if ok && n == 1 {
			var m int
			m, at, ok = r.run(t[1:], v[1:], b, at, uint(len(b)-xorReach)*8, false)
			n += m
		}
	}
	if !ok {
		return errBroken
	}
	if n == len(t) {
		return nil
	}
	var tail [2*xorReach + 8]byte // what is left, and zeros
	left := copy(tail[:], b[at>>3:])
	limit := uint(left) * 8
	at &= 7
	second := n == 0
	for n < len(t) && at < limit {
		end := len(t)
		if second {
			end = 1
		}
		var m int
		if m, at, ok = r.run(t[n:end], v[n:end], tail[:], at, limit, second); !ok {
			return errBroken
		}
		n += m
		second = false
	}
	if n < len(t) || at > limit {
		return errShort
	}
	return nil
}

// run decodes samples from bit at of b until t is full or bit stop is reached, and returns how many and where
// it stopped. b has xorReach bytes from stop on. Of the second sample of a chunk there is the value only.
func (r *xorReader) run(t []int64, v []float64, b []byte, at, stop uint, second bool) (n int, end uint, ok bool) {
	ts, delta, bits, lead, trail := r.t, r.delta, r.v, r.lead, r.trail
	v = v[:len(t)]
	for n < len(t) && at < stop {
		w := binary.BigEndian.Uint64(b[at>>3:]) << (at & 7) // 57 bits at least
		if !second {
			used := uint(1)
			if w>>63 != 0 {
				var dod int64
				dod, used = deltaOfDelta(w)
				if used == 0 {
					at += 4
					dod = int64(peek(b, at))
					used = 64
					w = binary.BigEndian.Uint64(b[(at+64)>>3:]) << (at & 7)
				} else {
					w <<= used
				}
				delta += dod
			} else {
				w <<= 1
			}
			at += used
		}
		ts += delta
		switch {
		case w>>63 == 0:
			at++
		case w>>62 == 0b10:
			x := peek(b, at+2) >> (lead + trail&63)
			bits ^= x << (trail & 63)
			at += 66 - lead - trail
		default:
			lead = uint(w << 2 >> 59)
			size := uint(w << 7 >> 58)
			if size == 0 {
				size = 64
			}
			if lead+size > 64 {
				return n, at, false
			}
			trail = 64 - lead - size
			bits ^= peek(b, at+13) >> ((64 - size) & 63) << (trail & 63)
			at += 13 + size
		}
		t[n], v[n] = ts, math.Float64frombits(bits)
		n++
	}
	*r = xorReader{ts, delta, bits, lead, trail}
	return n, at, true
}

// peek returns the 64 bits from bit at on.
func peek(b []byte, at uint) uint64 {
	s := at & 7
	w := b[at>>3:][:9]
	return binary.BigEndian.Uint64(w)<<s | uint64(w[8])>>(8-s)
}

// deltaOfDelta reads one that is not zero from the highest bits of w, and how many bits it takes; 0 says
// that it is in the 64 bits after the first four.
func deltaOfDelta(w uint64) (int64, uint) {
	var x, size uint64
	var used uint
	switch {
	case w>>62 == 0b10:
		x, size, used = w<<2>>50, 14, 16
	case w>>61 == 0b110:
		x, size, used = w<<3>>47, 17, 20
	case w>>60 == 0b1110:
		x, size, used = w<<4>>44, 20, 24
	default:
		return 0, 0
	}
	if x > 1<<(size-1) {
		x -= 1 << size
	}
	return int64(x), used
}
