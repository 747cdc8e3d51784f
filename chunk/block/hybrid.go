package block

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// appendHybrid appends values in Parquet's RLE/bit-packing hybrid: one run,
// repeated where all are equal and bit-packed otherwise. Compression behind it
// finds the repetitions in between.
func appendHybrid(dst []byte, values []uint32, width int) []byte {
	if len(values) == 0 {
		return dst
	}
	equal := true
	for _, v := range values[1:] {
		if v != values[0] {
			equal = false
			break
		}
	}
	if equal {
		dst = binary.AppendUvarint(dst, uint64(len(values))<<1)
		for i := 0; i < width; i += 8 {
			dst = append(dst, byte(values[0]>>i))
		}
		return dst
	}
	groups := (len(values) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	end := len(dst) + groups*width
	var acc uint64
	n := 0
	for _, v := range values {
		acc |= uint64(v) << n
		for n += width; n >= 8; n -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	if n > 0 {
		dst = append(dst, byte(acc))
	}
	for len(dst) < end { // the last group of eight is padded
		dst = append(dst, 0)
	}
	return dst
}

// hybridWidth is the bits that indexes below n need; at least one, since not
// every reader takes none.
func hybridWidth(n int) int { return max(1, bits.Len(uint(max(n, 1)-1))) }

var errHybrid = errors.New("runs that do not fit")

// decodeHybrid appends n values of a hybrid of runs to dst.
func decodeHybrid(dst []uint32, b []byte, width, n int) ([]uint32, error) {
	for end := len(dst) + n; len(dst) < end; {
		head, w := binary.Uvarint(b)
		if w <= 0 || head>>1 == 0 || head>>1 > 1<<32 {
			return nil, errHybrid
		}
		b = b[w:]
		count := int(head >> 1)
		if head&1 == 0 {
			size := (width + 7) / 8
			if len(b) < size || count > end-len(dst) {
				return nil, errHybrid
			}
			var v uint32
			for i := range size {
				v |= uint32(b[i]) << (8 * i)
			}
			for range count {
				dst = append(dst, v)
			}
			b = b[size:]
			continue
		}
		if len(b)/max(width, 1) < count && width > 0 {
			return nil, errHybrid
		}
		var acc uint64
		have, at := 0, 0
		for range min(8*count, end-len(dst)) {
			for have < width {
				acc |= uint64(b[at]) << have
				at++
				have += 8
			}
			dst = append(dst, uint32(acc&(1<<width-1)))
			acc >>= width
			have -= width
		}
		b = b[count*width:]
	}
	return dst, nil
}
