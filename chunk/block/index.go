package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"sort"
	"sync/atomic"
	"unsafe"

	"github.com/oklog/ulid/v2"
)

// index is an open index. Its bytes are verified as a whole when it is opened and by its guard when they are read later, and
// every number in them is checked before it is used as a place. What is not right reads as empty.
type index struct {
	*guard
	sec    [sections][]byte
	at     [sections]int // where each begins in the file
	names  []string      // sorted
	first  []uint32      // by name: its first pair; one entry more than names
	series uint32
	rows   uint32
	pairs  uint32
}

var errIndex = errors.New("the index contradicts itself")

// view is b as a string without a copy.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// openIndex parses an index, which must be of the block id with this many series and rows.
func openIndex(b []byte, id ulid.ULID, series, rows uint64, age *atomic.Uint32) (*index, error) {
	if len(b) < len(indexMagic)+trailerSize || string(b[:len(indexMagic)]) != indexMagic {
		return nil, fmt.Errorf("it is not an index of version %s", indexMagic)
	}
	body, t := b[:len(b)-trailerSize], b[len(b)-trailerSize:]
	le := binary.LittleEndian
	signed := trailerSize - len(indexMagic) - 4
	if string(t[signed+4:]) != indexMagic || crc32.Checksum(t[:signed], castagnoli) != le.Uint32(t[signed:]) {
		return nil, errors.New("checksum mismatch in its trailer")
	}
	x := &index{guard: newGuard(b, age)}
	at := uint64(len(indexMagic)) // where the last section ended
	for i := range x.sec {
		off, n, crc := le.Uint64(t), le.Uint64(t[8:]), le.Uint32(t[16:])
		t = t[tocEntry:]
		if off != (at+7)/8*8 || off > uint64(len(body)) || n > uint64(len(body))-off {
			return nil, errIndex
		}
		for _, pad := range body[at:off] {
			if pad != 0 {
				return nil, errIndex
			}
		}
		at = off + n
		x.sec[i], x.at[i] = body[off:off+n:off+n], int(off)
		if crc32.Checksum(x.sec[i], castagnoli) != crc {
			return nil, fmt.Errorf("checksum mismatch in section %d at %d", i, off)
		}
	}
	if at != uint64(len(body)) {
		return nil, errIndex
	}
	x.series, x.rows, x.pairs = le.Uint32(t[16:]), le.Uint32(t[20:]), le.Uint32(t[24:])
	if [16]byte(t[:16]) != id || uint64(x.series) != series || uint64(x.rows) != rows {
		return nil, errors.New("it belongs to another block")
	}
	if err := x.shape(); err != nil {
		return nil, err
	}
	return x, x.readNames(le.Uint32(t[28:]))
}

// shape checks that the arrays have as many entries as they must.
func (x *index) shape() error {
	ends := []struct{ end, bytes, n uint32 }{
		{secValueEnd, secValues, x.pairs}, {secListEnd, secLists, x.pairs},
	}
	for _, e := range ends {
		end, total := x.sec[e.end], uint32(len(x.sec[e.bytes]))
		if uint64(len(end)) != 4*uint64(e.n) || e.n > 0 && binary.LittleEndian.Uint32(end[len(end)-4:]) != total {
			return errIndex
		}
	}
	if marks := (uint64(x.series) + markEvery - 1) / markEvery; uint64(len(x.sec[secMarks])) != markSize*marks {
		return errIndex
	}
	if x.series == 0 {
		return nil
	}
	if _, to := x.rowsOf(x.series - 1); to != x.rows {
		return errIndex
	}
	return nil
}

func (x *index) readNames(n uint32) error {
	b := x.sec[secNames]
	if uint64(n) > uint64(len(b)) {
		return errIndex
	}
	x.names, x.first = make([]string, 0, n), make([]uint32, 0, n+1)
	for range n {
		l, w := binary.Uvarint(b)
		if w <= 0 || l > uint64(len(b)-w) {
			return errIndex
		}
		name := string(b[w : w+int(l)])
		b = b[w+int(l):]
		first, w := binary.Uvarint(b)
		if w <= 0 || first > uint64(x.pairs) {
			return errIndex
		}
		b = b[w:]
		if i := len(x.names); i > 0 && (x.names[i-1] >= name || uint64(x.first[i-1]) > first) {
			return errIndex
		}
		x.names, x.first = append(x.names, name), append(x.first, uint32(first))
	}
	x.first = append(x.first, x.pairs)
	if len(b) != 0 || x.first[0] != 0 {
		return errIndex
	}
	return nil
}

// sureOf reports whether bytes of a section are right.
func (x *index) sureOf(sec int, from, to uint32) bool {
	return x.sure(x.at[sec]+int(from), x.at[sec]+int(to))
}

// between is the i-th piece of bytes, by the array of its ends.
func (x *index) between(ends, bytes int, i uint32) []byte {
	e, b := x.sec[ends], x.sec[bytes]
	if !x.sureOf(ends, 4*(max(i, 1)-1), 4*(i+1)) {
		return nil
	}
	var from uint32
	if i > 0 {
		from = binary.LittleEndian.Uint32(e[4*(i-1):])
	}
	to := binary.LittleEndian.Uint32(e[4*i:])
	if from > to || to > uint32(len(b)) || !x.sureOf(bytes, from, to) {
		return nil
	}
	return b[from:to]
}

func (x *index) value(pair uint32) []byte { return x.between(secValueEnd, secValues, pair) }
func (x *index) list(pair uint32) []byte  { return x.between(secListEnd, secLists, pair) }

// nameRange returns the pairs [from, to) of a label name.
func (x *index) nameRange(name string) (from, to uint32, ok bool) {
	i := sort.SearchStrings(x.names, name)
	if i == len(x.names) || x.names[i] != name {
		return 0, 0, false
	}
	return x.first[i], x.first[i+1], true
}

// find returns the pair of a value among [from, to).
func (x *index) find(from, to uint32, value string) (uint32, bool) {
	p := x.search(from, to, value)
	return p, p < to && string(x.value(p)) == value
}

// search returns the first pair among [from, to) whose value is not less.
func (x *index) search(from, to uint32, value string) uint32 {
	return from + uint32(sort.Search(int(to-from), func(i int) bool {
		return string(x.value(from+uint32(i))) >= value
	}))
}

// nameAt returns the name of a pair.
func (x *index) nameAt(pair uint32) int {
	lo, hi := 0, len(x.names)
	for hi-lo > 1 {
		if mid := int(uint(lo+hi) >> 1); x.first[mid] <= pair {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// length is how many series have a label.
func (x *index) length(pair uint32) int {
	n, _ := uvarint32(x.list(pair))
	return int(n)
}

// appendList appends the ordinals of the series that have a label.
func (x *index) appendList(dst []uint32, pair uint32) ([]uint32, error) {
	var r listReader
	err := r.open(x, pair)
	for err == nil && r.left > 0 {
		var some []uint32
		some, err = r.read()
		dst = append(dst, some...)
	}
	return dst, err
}

// listReader reads the list of a label some entries at a time.
type listReader struct {
	b       []byte
	left    uint32 // entries
	next    uint32 // least number that may come
	prev    uint32
	series  uint32
	entries [256]uint32
}

// open begins with the list of a pair.
func (r *listReader) open(x *index, pair uint32) error {
	b := x.list(pair)
	n, w := uvarint32(b)
	if w == 0 || uint64(n) > uint64(len(b)-w) || n > x.series {
		return errIndex
	}
	r.b, r.left, r.next, r.prev, r.series = b[w:], n, 0, 0, x.series
	return nil
}

// read returns the next entries, ascending, which stay valid until it is called again: none at the end.
func (r *listReader) read() ([]uint32, error) {
	out := r.entries[:min(r.left, uint32(len(r.entries)))]
	b, prev := r.b, r.prev
	for i := 0; i < len(out); {
		if i+8 <= len(out) && len(b) >= 8 && prev < math.MaxUint32-8*0x7f {
			if x := binary.LittleEndian.Uint64(b); small(x) {
				for k := range 8 {
					prev += uint32(x >> (8 * k) & 0xff)
					out[i+k] = prev
				}
				if prev >= r.series {
					return nil, errIndex
				}
				i, b = i+8, b[8:]
				r.next = 1
				continue
			}
		}
		d, w := uvarint32(b)
		if w == 0 || d < r.next || uint64(prev)+uint64(d) >= uint64(r.series) {
			return nil, errIndex
		}
		b, prev, r.next = b[w:], prev+d, 1
		out[i] = prev
		i++
	}
	r.b, r.prev, r.left = b, prev, r.left-uint32(len(out))
	return out, nil
}

// small says whether all eight bytes of x are in [1, 127].
func small(x uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	return ((x-ones)|x)&tops == 0
}

// uvarint32 reads a number below 2³²; w is 0 when there is none.
func uvarint32(b []byte) (v uint32, w int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), 1
	}
	u, w := binary.Uvarint(b)
	if w <= 0 || u > math.MaxUint32 {
		return 0, 0
	}
	return uint32(u), w
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
