package block

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go/encoding/thrift"
)

var errThrift = errors.New("malformed thrift")

// decodeThrift decodes a struct in Thrift's compact protocol and tells how long it was. The result may
// point into b. The library trusts the lengths of lists, so they are checked first: each
// element takes at least a byte.
func decodeThrift(b []byte, v any) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errThrift, r)
		}
	}()
	if n, err = skipStruct(b, 0); err != nil {
		return 0, err
	}
	err = thrift.NewDecoder(new(thrift.CompactProtocol).NewReaderFromBytes(b[:n])).Decode(v)
	return n, err
}

const maxThriftDepth = 16 // of structs and lists in one another; a Parquet footer has less

// skipStruct returns the length of the struct at the beginning of b.
func skipStruct(b []byte, depth int) (int, error) {
	if depth > maxThriftDepth {
		return 0, errThrift
	}
	for n := 0; n < len(b); {
		h := b[n]
		n++
		if h == 0 {
			return n, nil
		}
		if h>>4 == 0 { // the field's number follows
			_, w := binary.Uvarint(b[n:])
			if w <= 0 {
				break
			}
			n += w
		}
		if t := h & 0xf; t > 2 { // the value of a bool is in its type
			w, err := skipValue(b[n:], t, depth)
			if err != nil {
				return 0, err
			}
			n += w
		}
	}
	return 0, errThrift
}

// skipValue returns the length of a value of this type.
func skipValue(b []byte, t byte, depth int) (int, error) {
	n := -1
	switch t {
	case 1, 2, 3: // bool in a list, byte
		n = 1
	case 4, 5, 6: // integers
		_, n = binary.Uvarint(b)
	case 7: // double
		n = 8
	case 8: // string
		if l, w := binary.Uvarint(b); w > 0 && l <= uint64(len(b)-w) {
			n = w + int(l)
		}
	case 9, 10: // list, set
		return skipList(b, depth+1)
	case 12:
		return skipStruct(b, depth+1)
	}
	if n <= 0 || n > len(b) {
		return 0, errThrift
	}
	return n, nil
}

func skipList(b []byte, depth int) (int, error) {
	if len(b) == 0 || depth > maxThriftDepth {
		return 0, errThrift
	}
	count, t, n := uint64(b[0]>>4), b[0]&0xf, 1
	if count == 15 {
		c, w := binary.Uvarint(b[1:])
		if w <= 0 {
			return 0, errThrift
		}
		count, n = c, 1+w
	}
	if count > uint64(len(b)-n) {
		return 0, errThrift
	}
	for range count {
		w, err := skipValue(b[n:], t, depth)
		if err != nil {
			return 0, err
		}
		n += w
	}
	return n, nil
}
