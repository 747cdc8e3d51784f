package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// magic begins an encoded set; its last byte is the version of the format.
const magic = "MTSET\x00\x00\x01"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the set as it is kept in a file. Equal sets have equal bytes.
//
//	┌─────────────────┬──────────────────────────┬───────────────────────────────────────┐
//	│ magic, 8 bytes  │ records, sorted by key   │ CRC-32C of all before, big endian     │
//	└─────────────────┴──────────────────────────┴───────────────────────────────────────┘
func (s *Set) Encode() []byte {
	records := make([]Record, 0, len(s.records))
	for _, r := range s.records {
		records = append(records, r)
	}
	b := []byte(magic)
	for _, r := range byKey(records) {
		b = r.AppendTo(b)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Decode is the inverse of Encode, for a set in which origin writes.
func Decode(b []byte, origin string) (*Set, error) {
	end := len(b) - 4
	switch {
	case end < len(magic) || string(b[:len(magic)]) != magic:
		return nil, errors.New("decode records: this is no set of records, or of a later version")
	case binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli):
		return nil, errors.New("decode records: checksum mismatch")
	}
	records, err := DecodeRecords(b[len(magic):end])
	if err != nil {
		return nil, fmt.Errorf("decode records: %w", err)
	}
	s := NewSet(origin)
	for i, r := range records {
		if i > 0 && records[i-1].Key >= r.Key {
			return nil, fmt.Errorf("decode records: record %q is not behind the one before it", r.Key)
		}
		s.store(r)
	}
	return s, nil
}
