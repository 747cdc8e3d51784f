package block

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/minitrue/minitrue/chunk"
)

// The columns of chunks.parquet, in the order of the file. All are required.
const (
	colSeries    = iota // ordinal of the series, ascending
	colMinTime          // ms
	colMaxTime          // ms
	colSamples          // stale markers too
	colSum              // chunk.Stats.Total
	colMin              //
	colMax              //
	colFirst            //
	colLast             //
	colIncrease         // reset-adjusted
	colStale            // stale markers
	colEncoding         // chunk.Encoding
	colCRC              // CRC-32C of data
	colData             // the chunk
	chunkColumns        // how many there are
)

// A row group ends at either bound: small enough that a writer holds it in
// memory and that a first touch verifies it fast, large enough for scans.
const (
	groupRows  = 16 << 10
	groupBytes = 32 << 20
)

// maxData bounds one chunk, so that no length in a file can ask for more.
const maxData = 16 << 20

func chunkSchema() ([]format.SchemaElement, []column) {
	s := []format.SchemaElement{
		rootElement(chunkColumns),
		unsignedLeaf("series", 32),
		plainLeaf("min_time", format.Int64), plainLeaf("max_time", format.Int64),
		unsignedLeaf("samples", 32),
		plainLeaf("sum", format.Double), plainLeaf("min", format.Double), plainLeaf("max", format.Double),
		plainLeaf("first", format.Double), plainLeaf("last", format.Double), plainLeaf("increase", format.Double),
		unsignedLeaf("stale", 32), unsignedLeaf("encoding", 8), unsignedLeaf("crc", 32),
		plainLeaf("data", format.ByteArray),
	}
	return s, leaves(s[1:])
}

// leaves are the columns of a flat schema.
func leaves(elements []format.SchemaElement) []column {
	cols := make([]column, len(elements))
	for i, e := range elements {
		cols[i] = column{path: []string{e.Name}, typ: e.Type.V}
		switch e.Type.V {
		case format.Int32:
			cols[i].width = 4
		case format.Int64, format.Double:
			cols[i].width = 8
		case format.FixedLenByteArray:
			cols[i].width = int(e.TypeLength.V)
		}
	}
	return cols
}

// rowWriter writes chunks.parquet.
type rowWriter struct {
	*parquetWriter
	buf  [chunkColumns][]byte // the current row group, PLAIN
	n    int                  // its rows
	minT [2]int64             // least and greatest min_time of the row group
	maxT [2]int64             // the same of max_time
}

func newRowWriter(f File) *rowWriter {
	schema, cols := chunkSchema()
	w := &rowWriter{parquetWriter: newParquetWriter(f, schema, cols)}
	w.reset()
	return w
}

func (w *rowWriter) reset() {
	for i := range w.buf {
		w.buf[i] = w.buf[i][:0]
	}
	w.n = 0
	w.minT = [2]int64{math.MaxInt64, math.MinInt64}
	w.maxT = w.minT
}

// add appends a row and returns where its data lies in the row group's page.
func (w *rowWriter) add(ord uint32, c *chunk.Chunk) (offset uint32, err error) {
	if w.n == groupRows || w.n > 0 && len(w.buf[colData])+4+len(c.Data) > groupBytes {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	u32 := func(col int, v uint32) { w.buf[col] = binary.LittleEndian.AppendUint32(w.buf[col], v) }
	u64 := func(col int, v uint64) { w.buf[col] = binary.LittleEndian.AppendUint64(w.buf[col], v) }
	u32(colSeries, ord)
	u64(colMinTime, uint64(c.MinTime))
	u64(colMaxTime, uint64(c.MaxTime))
	u32(colSamples, uint32(c.Samples))
	u64(colSum, math.Float64bits(c.Total()))
	u64(colMin, math.Float64bits(c.Min))
	u64(colMax, math.Float64bits(c.Max))
	u64(colFirst, math.Float64bits(c.First))
	u64(colLast, math.Float64bits(c.Last))
	u64(colIncrease, math.Float64bits(c.Increase))
	u32(colStale, uint32(c.Stale))
	u32(colEncoding, uint32(c.Encoding))
	u32(colCRC, crc32.Checksum(c.Data, castagnoli))
	offset = uint32(len(w.buf[colData]))
	u32(colData, uint32(len(c.Data)))
	w.buf[colData] = append(w.buf[colData], c.Data...)
	w.n++
	w.minT = [2]int64{min(w.minT[0], c.MinTime), max(w.minT[1], c.MinTime)}
	w.maxT = [2]int64{min(w.maxT[0], c.MaxTime), max(w.maxT[1], c.MaxTime)}
	return offset, nil
}

// flush writes the current row group.
func (w *rowWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	le := binary.LittleEndian
	for i, b := range w.buf {
		var st format.Statistics
		switch i {
		case colSeries:
			st = bounds(slices.Clone(b[:4]), slices.Clone(b[len(b)-4:]))
		case colMinTime:
			st = bounds(le.AppendUint64(nil, uint64(w.minT[0])), le.AppendUint64(nil, uint64(w.minT[1])))
		case colMaxTime:
			st = bounds(le.AppendUint64(nil, uint64(w.maxT[0])), le.AppendUint64(nil, uint64(w.maxT[1])))
		}
		p := page{kind: format.DataPage, enc: format.Plain, values: w.n, raw: len(b), data: b}
		if err := w.columnChunk(format.Uncompressed, st, p); err != nil {
			return err
		}
	}
	if err := w.endGroup(w.n, colSeries, colMinTime); err != nil {
		return err
	}
	w.reset()
	return nil
}

func (w *rowWriter) finish() (FileMeta, error) {
	if err := w.flush(); err != nil {
		return FileMeta{}, err
	}
	return w.parquetWriter.finish()
}
