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
//	│ MTINDEX1 │ section 0 │ pad 8 │ sec 1 │ pad │ …     │ trailer  │
//	└──────────┴───────────┴───────┴───────┴─────┴───────┴──────────┘
//
//	section        bytes
//	secData        u32 × chunks       offset of a chunk's length prefix in its row group's page of data
//	secNames       (uvarint len, name, uvarint first pair) × names, sorted
//	secValueEnd    u32 × pairs        end of each value in secValues
//	secValues      values of the pairs; a pair is a label, pairs are sorted by name and value
//	secListEnd     u32 × pairs        end of each list in secLists
//	secLists       (uvarint n, n × uvarint delta) × pairs: ordinals of the series with that label
//	secLabelsEnd   u32 × series       end of each label set in secLabels
//	secLabels      (uvarint pair)* × series, ascending
//	secRowEnd      u32 × series       end of each series' rows; they begin where the last one's end
//
//	trailer: (u64 offset, u64 length, u32 CRC-32C) × sections,
//	         ULID, u32 series, u32 chunks, u32 pairs, u32 names, u32 CRC-32C of the trailer before it, MTINDEX1
const (
	secData = iota
	secNames
	secValueEnd
	secValues
	secListEnd
	secLists
	secLabelsEnd
	secLabels
	secRowEnd
	sections
)

const (
	indexMagic  = "MTINDEX1"
	tocEntry    = 8 + 8 + 4
	trailerSize = sections*tocEntry + 16 + 4*4 + 4 + len(indexMagic)
)

const labelSlab = 1 << 20 // bytes of a piece of what is kept of all label sets

// indexWriter makes an index while series and rows go by. Of a series it keeps
// a few bytes.
type indexWriter struct {
	w       *bufio.Writer
	n       int64 // bytes written
	toc     [sections]tocItem
	scratch []byte

	pairs  *pairs
	labels [][]byte // label sets: uvarint count, uvarint pairs, in pieces
	rowEnd []uint32 // by series
	rows   uint32
}

type tocItem struct {
	off, len int64
	crc      uint32
}

func newIndexWriter(w io.Writer, p *pairs) *indexWriter {
	x := &indexWriter{w: bufio.NewWriterSize(w, 64<<10), pairs: p}
	_, _ = x.w.WriteString(indexMagic) // the error sticks in bufio
	x.n = int64(len(indexMagic))
	x.toc[secData].off = x.n
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

// addRow is for each row, after which addSeries is for their series.
func (x *indexWriter) addRow(offset uint32) error {
	if x.rows == math.MaxUint32 {
		return fmt.Errorf("a block holds at most %d chunks", uint32(math.MaxUint32))
	}
	x.put32(secData, offset)
	x.rows++
	return nil
}

func (x *indexWriter) addSeries(labels []uint32) {
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
	x.rowEnd = append(x.rowEnd, x.rows)
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
			ord++
		}
	}
}

// finish writes everything but secData, which is there already, and flushes.
func (x *indexWriter) finish(id ulid.ULID) error {
	order, names, first := x.pairs.sorted()
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
	x.begin(secRowEnd)
	for _, r := range x.rowEnd {
		x.put32(secRowEnd, r)
	}
	_, _ = x.w.Write(x.trailer(id, uint32(len(x.rowEnd)), x.rows, uint32(len(order)), uint32(len(names))))
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
	for _, p := range order {
		end += uint32(len(x.pairs.value(p)))
		x.put32(secValueEnd, end)
	}
	x.begin(secValues)
	for _, p := range order {
		x.put(secValues, []byte(x.pairs.value(p)))
	}
}

func (x *indexWriter) writeLabels(place []uint32) error {
	x.begin(secLabelsEnd)
	end := int64(0)
	x.eachSet(func(_ uint32, labels []uint32) {
		for _, p := range labels {
			end += int64(uvarintLen(place[p]))
		}
		x.put32(secLabelsEnd, uint32(end))
	})
	if end > math.MaxUint32 {
		return errTooLarge
	}
	x.begin(secLabels)
	var b []byte
	x.eachSet(func(_ uint32, labels []uint32) {
		b = b[:0]
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
