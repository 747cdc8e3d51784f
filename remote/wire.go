package remote

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
)

// Protobuf wire types.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireGroup   = 3
	wireEnd     = 4
	wireFixed32 = 5
)

// A position of -1 says that the bytes are malformed. All readers here take the
// message up to its end as b and a position in it, so that a position is an
// offset in the whole request and an error can name it.

// uvarint reads a varint at b[i:].
func uvarint(b []byte, i int) (v uint64, next int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return uvarintLong(b, i)
}

func uvarintLong(b []byte, i int) (v uint64, next int) {
	for shift := uint(0); i < len(b); shift += 7 {
		c := b[i]
		i++
		if c < 0x80 {
			if shift == 63 && c > 1 {
				return 0, -1
			}
			return v | uint64(c)<<shift, i
		}
		if shift == 63 {
			return 0, -1
		}
		v |= uint64(c&0x7f) << shift
	}
	return 0, -1
}

// tag reads a field's number and wire type.
func tag(b []byte, i int) (num, typ, next int) {
	v, next := uvarint(b, i)
	if next < 0 || v>>3 == 0 || v>>3 > math.MaxInt32>>2 {
		return 0, 0, -1
	}
	return int(v >> 3), int(v & 7), next
}

// span reads a length at b[i:] and returns where the bytes of that length lie;
// hi is -1 when they are not all there.
func span(b []byte, i int) (lo, hi int) {
	n, lo := uvarint(b, i)
	if lo < 0 || n > uint64(len(b)-lo) {
		return 0, -1
	}
	return lo, lo + int(n)
}

// fixed64 reads eight bytes, least significant first.
func fixed64(b []byte, i int) (v uint64, next int) {
	if len(b)-i < 8 {
		return 0, -1
	}
	return binary.LittleEndian.Uint64(b[i:]), i + 8
}

// skip passes over a field of no interest, whose tag ends at i.
func skip(b []byte, i, typ int) (next int) {
	for depth := 0; ; {
		switch typ {
		case wireVarint:
			_, i = uvarint(b, i)
		case wireFixed64:
			i += 8
		case wireBytes:
			_, i = span(b, i)
		case wireGroup:
			depth++
		case wireEnd:
			if depth--; depth < 0 {
				return -1
			}
		case wireFixed32:
			i += 4
		default:
			return -1
		}
		if i < 0 || i > len(b) {
			return -1
		}
		if depth == 0 {
			return i
		}
		if _, typ, i = tag(b, i); i < 0 {
			return -1
		}
	}
}

// A requestError is a request that gets this answer and of which nothing is stored.
type requestError struct {
	code int
	text string
}

func (e *requestError) Error() string { return e.text }

// StatusCode is the answer's.
func (e *requestError) StatusCode() int { return e.code }

func badRequest(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// malformed is the answer to a message whose field at byte at cannot be read.
func malformed(what string, at int) error {
	return badRequest("malformed protobuf: %s at byte %d of the decompressed message cannot be read; nothing was stored", what, at)
}
