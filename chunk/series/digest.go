package series

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"
)

// Digest is a number of 128 bits that stands for a set of samples: the sum, modulo 2¹²⁸, of the digests of each. It
// does not depend on how samples are cut into chunks and blocks or on their order, and it can be kept up to date by adding. It tells
// samples apart that differ by accident, and is no defence against such as were made to collide.
type Digest struct{ Hi, Lo uint64 }

// Plus returns the digest of both sets, which must have no sample in common.
func (d Digest) Plus(o Digest) Digest {
	lo, carry := bits.Add64(d.Lo, o.Lo, 0)
	return Digest{d.Hi + o.Hi + carry, lo}
}

// Minus returns the digest of d without o, which is part of it.
func (d Digest) Minus(o Digest) Digest {
	lo, borrow := bits.Sub64(d.Lo, o.Lo, 0)
	hi, _ := bits.Sub64(d.Hi, o.Hi, borrow)
	return Digest{hi, lo}
}

// IsZero says whether it is the digest of no samples.
func (d Digest) IsZero() bool { return d == Digest{} }

// AppendTo appends the digest as it goes over the wire: 16 bytes, big endian.
func (d Digest) AppendTo(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, d.Hi), d.Lo)
}

func (d Digest) String() string { return hex.EncodeToString(d.AppendTo(nil)) }

// SeriesDigest is the digest of some samples of one series.
type SeriesDigest struct {
	ID     ID
	Digest Digest
}

// Constants of the mixing below, from the decimals of π and e.
const (
	mix1 = 0x243f6a8885a308d3
	mix2 = 0x13198a2e03707344
	mix3 = 0xb7e151628aed2a6a
)

// SampleDigest is the digest of one float sample of a series: multiplications of 64 by 64 bits, as in wyhash.
func SampleDigest(id ID, t int64, v float64) Digest {
	return bitsDigest(id, uint64(t), math.Float64bits(v))
}

// BytesDigest is the digest of a sample that is not a float, of whose canonical bytes h is the hash.
func BytesDigest(id ID, t int64, h ID) Digest {
	return bitsDigest(ID{id.Hi ^ h.Hi, id.Lo ^ mix3}, uint64(t), h.Lo)
}

func bitsDigest(id ID, t, v uint64) Digest {
	h1, l1 := bits.Mul64(id.Hi^t^mix1, id.Lo^v^mix2)
	h2, l2 := bits.Mul64(id.Lo^(t*mix3)^mix2, id.Hi^bits.RotateLeft64(v, 32)^mix1)
	h3, l3 := bits.Mul64(h1^l2^mix3, l1^h2^mix1)
	return Digest{h3 ^ h2, l3 ^ h1}
}
