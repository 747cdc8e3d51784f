package cluster

import (
	"encoding/binary"
	"math"
)

// unpacker takes a peer's bytes apart from the front; after the first that is missing or wrong, bad is set.
type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) uvarint() uint64 {
	x, n := binary.Uvarint(u.b)
	u.skip(n)
	return x
}

func (u *unpacker) varint() int64 {
	x, n := binary.Varint(u.b)
	u.skip(n)
	return x
}

func (u *unpacker) skip(n int) {
	if n <= 0 {
		u.bad, u.b = true, nil
		return
	}
	u.b = u.b[n:]
}

// take returns n bytes, which alias the input.
func (u *unpacker) take(n uint64) []byte {
	if n > uint64(len(u.b)) {
		u.bad, u.b = true, nil
		return nil
	}
	b := u.b[:n:n]
	u.b = u.b[n:]
	return b
}

// bytes returns bytes with their length before them.
func (u *unpacker) bytes() []byte { return u.take(u.uvarint()) }

func (u *unpacker) byte() byte {
	if b := u.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (u *unpacker) uint64() uint64 {
	if b := u.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (u *unpacker) float() float64 { return math.Float64frombits(u.uint64()) }

// count returns a number of things that take at least so many bytes each.
func (u *unpacker) count(size int) int {
	n := u.uvarint()
	if n > uint64(len(u.b)/size) {
		u.bad, u.b = true, nil
		return 0
	}
	return int(n)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
}
