package block

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/oklog/ulid/v2"
)

// The index is sections and a table of them. Numbers are little endian.
//
//	┌──────────┬───────────┬───────┬───────┬─────┬───────┬──────────┐
//	│ MTINDEX2 │ section 0 │ pad 8 │ sec 1 │ pad │ …     │ trailer  │
//	└──────────┴───────────┴───────┴───────┴─────┴───────┴──────────┘
//
//	section        bytes
//	secNames       (uvarint len, name, uvarint first pair) × names, sorted
//	secValueEnd    u32 × pairs        end of each value in secValues
//	secValues      values of the pairs; a pair is a label, pairs are sorted by name and value
//	secListEnd     u32 × pairs        end of each list in secLists
//	secLists       (uvarint n, n × uvarint delta) × pairs: ordinals of the series with that label
//	secMarks       (u32 place in secCounts, u32 row, u32 place in secLabels) for every 16th series
//	secCounts      uvarint × series   how many rows it has
//	secLabels      (uvarint n, n × uvarint pair) × series, ascending
//
//	trailer: (u64 offset, u64 length, u32 CRC-32C) × sections,
//	         ULID, u32 series, u32 chunks, u32 pairs, u32 names, u32 CRC-32C of the trailer before it, MTINDEX2
const (
	secNames = iota
	secValueEnd
	secValues
	secListEnd
	secLists
	secMarks
	secCounts
	secLabels
	sections
)

const (
	indexMagic  = "MTINDEX2"
	tocEntry    = 8 + 8 + 4
	markEvery   = 16 // series
	markSize    = 12
	trailerSize = sections*tocEntry + 16 + 4*4 + 4 + len(indexMagic)
)

// restEvery is how many series or labels are written to an index between two calls of rest.
const restEvery = 256

const labelSlab = 1 << 20 // bytes of a piece of what is kept of all label sets

// indexWriter makes an index while series and rows go by. Of a series it keeps
// a few bytes.
type indexWriter struct {
	w       *bufio.Writer
	n       int64 // bytes written
	toc     [sections]tocItem
	scratch []byte
	rest    func() // see WriterOptions

	pairs  *pairs
	labels [][]byte // label sets: uvarint count, uvarint pairs, in pieces
	counts []byte   // rows of each series, as uvarints
	marks  []uint32 // by mark: place in counts, row
	series uint32
	rows   uint32
}

type tocItem struct {
	off, len int64
	crc      uint32
}

func newIndexWriter(w io.Writer, p *pairs) *indexWriter {
	x := &indexWriter{w: bufio.NewWriterSize(w, 64<<10), pairs: p, rest: func() {}}
	_, _ = x.w.WriteString(indexMagic) // the error sticks in bufio
	x.n = int64(len(indexMagic))
	return x
}

// put appends to a section. Sections are written one after the other.
func (x *indexWriter) put(sec int, b []byte) {
	t := &x.toc[sec]
	t.crc = crc32.Update(t.crc, castagnoli, b)
	t.len += int64(len(b))
	x.n += int64(len(b))
	_, _ = x.w.Write(b)
}

func (x *indexWriter) put32(sec int, v uint32) {
	x.scratch = binary.LittleEndian.AppendUint32(x.scratch[:0], v)
	x.put(sec, x.scratch)
}

func (x *indexWriter) begin(sec int) {
	for ; x.n%8 != 0; x.n++ {
		_ = x.w.WriteByte(0)
	}
	x.toc[sec].off = x.n
}

// addSeries is for each series in turn: its pairs, and how many rows it has.
func (x *indexWriter) addSeries(labels []uint32, rows int) error {
	if uint64(x.rows)+uint64(rows) > math.MaxUint32 {
		return fmt.Errorf("a block holds at most %d chunks", uint32(math.MaxUint32))
	}
	if x.series%markEvery == 0 {
		x.marks = append(x.marks, uint32(len(x.counts)), x.rows)
	}
	x.counts = binary.AppendUvarint(x.counts, uint64(rows))
	x.rows += uint32(rows)
	x.series++
	last := len(x.labels) - 1
	if last < 0 || len(x.labels[last])+(len(labels)+1)*binary.MaxVarintLen32 > cap(x.labels[last]) {
		x.labels = append(x.labels, make([]byte, 0, max(labelSlab, (len(labels)+1)*binary.MaxVarintLen32)))
		last++
	}
	b := binary.AppendUvarint(x.labels[last], uint64(len(labels)))
	for _, p := range labels {
		b = binary.AppendUvarint(b, uint64(p))
	}
	x.labels[last] = b
	return nil
}

// eachSet calls f with the pairs of every series in turn.
func (x *indexWriter) eachSet(f func(ord uint32, labels []uint32)) {
	var set []uint32
	ord := uint32(0)
	for _, b := range x.labels {
		for len(b) > 0 {
			n, w := binary.Uvarint(b)
			b = b[w:]
			set = set[:0]
			for range n {
				p, w := binary.Uvarint(b)
				b = b[w:]
				set = append(set, uint32(p))
			}
			f(ord, set)
			if ord++; ord%restEvery == 0 {
				x.rest()
			}
		}
	}
}

// finish writes the index.
func (x *indexWriter) finish(id ulid.ULID) error {
	order, names, first := x.pairs.sorted(x.rest)
	x.writeNames(names, first)
	x.writeValues(order)
	place := make([]uint32, len(order)) // by pair: its place in order
	for i, p := range order {
		place[p] = uint32(i)
	}
	if err := x.writeLists(place); err != nil {
		return err
	}
	if err := x.writeLabels(place); err != nil {
		return err
	}
	_, _ = x.w.Write(x.trailer(id, x.series, x.rows, uint32(len(order)), uint32(len(names))))
	return x.w.Flush()
}

func (x *indexWriter) writeNames(names []string, first []uint32) {
	x.begin(secNames)
	for i, n := range names {
		b := binary.AppendUvarint(x.scratch[:0], uint64(len(n)))
		b = append(b, n...)
		x.scratch = binary.AppendUvarint(b, uint64(first[i]))
		x.put(secNames, x.scratch)
	}
}

func (x *indexWriter) writeValues(order []uint32) {
	x.begin(secValueEnd)
	end := uint32(0)
	for i, p := range order {
		if i%restEvery == 0 {
			x.rest()
		}
		end += uint32(len(x.pairs.value(p)))
		x.put32(secValueEnd, end)
	}
	x.begin(secValues)
	for i, p := range order {
		if i%restEvery == 0 {
			x.rest()
		}
		x.put(secValues, []byte(x.pairs.value(p)))
	}
}

func (x *indexWriter) writeLabels(place []uint32) error {
	x.begin(secMarks)
	end := int64(0)
	x.eachSet(func(ord uint32, labels []uint32) {
		if ord%markEvery == 0 {
			m := x.marks[2*(ord/markEvery):]
			x.put32(secMarks, m[0])
			x.put32(secMarks, m[1])
			x.put32(secMarks, uint32(end))
		}
		end += int64(uvarintLen(uint32(len(labels))))
		for _, p := range labels {
			end += int64(uvarintLen(place[p]))
		}
	})
	if end > math.MaxUint32 {
		return errTooLarge
	}
	x.begin(secCounts)
	x.put(secCounts, x.counts)
	x.begin(secLabels)
	var b []byte
	x.eachSet(func(_ uint32, labels []uint32) {
		b = binary.AppendUvarint(b[:0], uint64(len(labels)))
		for _, p := range labels {
			b = binary.AppendUvarint(b, uint64(place[p]))
		}
		x.put(secLabels, b)
	})
	return nil
}

// trailer is the end of an index.
func (x *indexWriter) trailer(id ulid.ULID, series, rows, pairs, names uint32) []byte {
	var b []byte
	le := binary.LittleEndian
	for _, t := range x.toc {
		b = le.AppendUint64(b, uint64(t.off))
		b = le.AppendUint64(b, uint64(t.len))
		b = le.AppendUint32(b, t.crc)
	}
	b = append(b, id[:]...)
	for _, v := range []uint32{series, rows, pairs, names} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, indexMagic...)
}

func uvarintLen(v uint32) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
