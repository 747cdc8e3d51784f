package merkle

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/minitrue/minitrue/chunk/series"
)

// What a record may be at most, and a set, with what was deleted.
const (
	MaxKey     = 256
	MaxOrigin  = 64
	MaxValue   = 64 << 10
	MaxRecords = 64 << 10
	MaxBytes   = 16 << 20 // of keys, origins and values
)

// Record is one thing that a cluster knows. It is immutable, and so is its value.
type Record struct {
	Key     string
	Value   []byte // nil: deleted
	Version uint64 // hybrid logical clock: Unix ms << 16, at least
	Origin  string // node that wrote it
}

// Millis is when it was written by the clock of its writer, Unix ms, or later.
func (r Record) Millis() int64 { return int64(r.Version >> 16) }

// Compare says which of two records of a key wins: the larger. It is a total order, so that the winner depends on nothing else.
func (r Record) Compare(o Record) int {
	return cmp.Or(cmp.Compare(r.Version, o.Version), strings.Compare(r.Origin, o.Origin),
		cmp.Compare(r.valueSize(), o.valueSize()), bytes.Compare(r.Value, o.Value))
}

// valueSize is 0 for a deleted record.
func (r Record) valueSize() int {
	if r.Value == nil {
		return 0
	}
	return len(r.Value) + 1
}

func (r Record) bytes() int { return len(r.Key) + len(r.Origin) + len(r.Value) }

func (r Record) check() error {
	switch {
	case r.Key == "" || len(r.Key) > MaxKey:
		return fmt.Errorf("a key has 1 to %d bytes, not %d", MaxKey, len(r.Key))
	case len(r.Value) > MaxValue:
		return fmt.Errorf("record %q has a value of %d bytes, at most %d are possible", r.Key, len(r.Value), MaxValue)
	case len(r.Origin) > MaxOrigin:
		return fmt.Errorf("record %q has an origin of %d bytes, at most %d are possible", r.Key, len(r.Origin), MaxOrigin)
	case r.Version == 0 || r.Version >= 1<<63: // so that there is always a next one
		return fmt.Errorf("record %q has the impossible version %d", r.Key, r.Version)
	}
	return nil
}

// AppendTo appends the record as it goes over the wire and into files:
//
//	uvarint length, key │ version, 8 bytes big endian │ uvarint length, origin │ uvarint 0 when deleted, else length + 1, value
func (r Record) AppendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.Key)))
	b = append(b, r.Key...)
	b = binary.BigEndian.AppendUint64(b, r.Version)
	b = binary.AppendUvarint(b, uint64(len(r.Origin)))
	b = append(b, r.Origin...)
	b = binary.AppendUvarint(b, uint64(r.valueSize()))
	return append(b, r.Value...)
}

func (r Record) digest() series.Digest {
	h := xxh3.Hash128(r.AppendTo(nil))
	return series.Digest{Hi: h.Hi, Lo: h.Lo}
}

var errShort = errors.New("records end too early")

// DecodeRecords is the inverse of AppendTo for all records in b. It keeps nothing of b.
func DecodeRecords(b []byte) ([]Record, error) {
	var records []Record
	for len(b) > 0 {
		if len(records) == MaxRecords {
			return nil, fmt.Errorf("more than %d records", MaxRecords)
		}
		r, rest, err := decodeRecord(b)
		if err != nil {
			return nil, err
		}
		records, b = append(records, r), rest
	}
	return records, nil
}

func decodeRecord(b []byte) (r Record, rest []byte, err error) {
	key, b, err := field(b, MaxKey)
	if err != nil {
		return r, nil, err
	}
	if len(b) < 8 {
		return r, nil, errShort
	}
	r.Key, r.Version = string(key), binary.BigEndian.Uint64(b)
	origin, b, err := field(b[8:], MaxOrigin)
	if err != nil {
		return r, nil, err
	}
	r.Origin = string(origin)
	n, w := binary.Uvarint(b)
	if w <= 0 {
		return r, nil, errShort
	}
	if b = b[w:]; n > 0 {
		if n--; n > uint64(len(b)) {
			return r, nil, errShort
		}
		r.Value = append([]byte{}, b[:n]...)
		b = b[n:]
	}
	return r, b, r.check()
}

// field reads bytes behind their length.
func field(b []byte, most int) (value, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	switch {
	case w <= 0 || n > uint64(len(b)-w):
		return nil, nil, errShort
	case n > uint64(most):
		return nil, nil, fmt.Errorf("a field of %d bytes, at most %d are possible", n, most)
	}
	return b[w : w+int(n)], b[w+int(n):], nil
}

// byKey sorts records.
func byKey(records []Record) []Record {
	slices.SortFunc(records, func(a, b Record) int { return strings.Compare(a.Key, b.Key) })
	return records
}
