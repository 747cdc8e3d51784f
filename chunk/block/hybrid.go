package block

import (
	"encoding/binary"
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
func hybridWidth(n int) int { return max(1, bits.Len(uint(n-1))) }
