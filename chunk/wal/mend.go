package wal

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"slices"
)

// maxMend bounds the frames that mend looks at, bytes. Damage of many bits passes for that of one in a frame of n bits with a
// chance of n in 2³².
const maxMend = 64 << 10

// mend returns the frame at an offset as it was before one bit of it flipped: CRC-32C says which one it was.
func mend(b []byte, off int64) (whole []byte, ok bool) {
	b = b[off:]
	if len(b) < frameHeader || allZero(b[:frameHeader]) {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(b[4:])
	for bit := range 33 { // each of the length's bits, and none
		size := int64(n) + frameHeader
		if bit < 32 {
			size = int64(n^1<<bit) + frameHeader
		}
		if size > min(int64(len(b)), maxMend) {
			continue
		}
		f := slices.Clone(b[:size])
		binary.LittleEndian.PutUint32(f[4:], uint32(size-frameHeader))
		diff := crc32.Checksum(f[4:], castagnoli) ^ binary.LittleEndian.Uint32(f)
		if diff == 0 && bit < 32 || bit == 32 && correct(f, diff) {
			return f, Type(f[8]) >= Commit && Type(f[8]) <= lastType
		}
	}
	return nil, false
}

// correct flips the one bit of a frame, outside its length, that changes its checksum by diff.
func correct(f []byte, diff uint32) bool {
	if bits.OnesCount32(diff) == 1 {
		binary.LittleEndian.PutUint32(f, binary.LittleEndian.Uint32(f)^diff)
		return true
	}
	var effect [8]uint32 // of each bit of a byte on the checksum of what ends behind it
	for i := range effect {
		effect[i] = castagnoli[1<<i]
	}
	for at := len(f) - 1; at >= 8; at-- {
		for i, e := range effect {
			if e == diff {
				f[at] ^= 1 << i
				return true
			}
			effect[i] = castagnoli[e&0xff] ^ e>>8 // with one more byte behind it
		}
	}
	return false
}

// sector is how much a disk writes whole or not at all, bytes.
const sector = 512

// flipped reports whether a bad frame at the end of a log has one flipped bit, and so was written whole: an interrupted write
// leaves zeros of the segment in some sector, or from some byte on.
func flipped(b []byte, off int64) bool {
	f, ok := mend(b, off)
	if !ok {
		return false
	}
	end := off + int64(len(f))
	for at := off; at < end; at = (at/sector + 1) * sector {
		if allZero(b[at:min((at/sector+1)*sector, end)]) {
			return false
		}
	}
	at := off
	for b[at] == f[at-off] {
		at++
	}
	return !allZero(b[at:end])
}
