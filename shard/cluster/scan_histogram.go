package cluster

import "errors"

var errLayout = errors.New("the layout of a histogram chunk is malformed")

// bucketsOf returns how many buckets the histograms of a chunk of chunkenc have. Its iterators make room for
// so many before they look whether the bytes of any are there. The layout begins behind the count of samples and the flags:
//
//	zero threshold (1 byte, or 255 and 8 bytes) │ schema (varbit) │ positive, negative: count (varbit), then for each span length, offset (varbit)
func bucketsOf(data []byte) (uint64, error) {
	if len(data) < 4 || data[0] == 0 && data[1] == 0 {
		return 0, errLayout
	}
	r := bitReader{b: data[4:]}
	if data[3] == 255 {
		r.bits(64)
	}
	r.varbit() // the schema
	buckets := uint64(0)
	for range 2 {
		for n := r.varbit(); n > 0 && !r.bad; n-- {
			buckets += uint64(uint32(r.varbit()))
			r.varbit() // the offset
		}
	}
	if r.bad {
		return 0, errLayout
	}
	return buckets, nil
}

// bitReader reads bits from the highest on; after the first that is missing, bad is set.
type bitReader struct {
	b   []byte
	at  int // bits that are read
	bad bool
}

func (r *bitReader) bits(n int) uint64 {
	if r.bad || r.at+n > 8*len(r.b) {
		r.bad = true
		return 0
	}
	x := uint64(0)
	for range n {
		x = x<<1 | uint64(r.b[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return x
}

// widths are how many bits follow so many ones of a varbit number.
var widths = [...]int{0, 3, 6, 9, 12, 18, 25, 56, 64}

// varbit reads a number as chunkenc writes it, without a sign.
func (r *bitReader) varbit() uint64 {
	ones := 0
	for ones < 8 && r.bits(1) == 1 {
		ones++
	}
	return r.bits(widths[ones])
}
