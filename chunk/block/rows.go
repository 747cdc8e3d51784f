package block

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/disk"
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
	colTimes            // chunk.Chunk's Times: equal ones of a row group are stored once
	colData             // chunk.Chunk's Data
	chunkColumns        // how many there are
)

// A row group ends at either bound: small enough that a writer holds it in
// memory and that a first touch verifies it fast, large enough for scans.
const (
	groupRows  = 4 << 10
	groupBytes = 16 << 20 // of data and different times, before compression
	pageBytes  = 64 << 10 // of data: little enough that one chunk is read fast, and enough to compress well
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
		unsignedLeaf("stale", 32), unsignedLeaf("encoding", 8),
		plainLeaf("times", format.ByteArray), plainLeaf("data", format.ByteArray),
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
	buf    [colTimes][]byte // the current row group, PLAIN
	n      int              // its rows
	minT   [2]int64         // least and greatest min_time of the row group
	maxT   [2]int64         // the same of max_time
	times  timesDict
	page   []byte // the open page of data, PLAIN
	inPage int    // its rows
	packed []byte // pages of data that are full, compressed
	pages  []page
	ends   []int // by page: where it ends in packed
	data   int   // bytes of data in the row group, before compression
}

// timesDict collects the different times of a row group.
type timesDict struct {
	place  map[string]uint32
	plain  []byte   // each once, PLAIN
	places []uint32 // by row
}

func (d *timesDict) add(t []byte) {
	at, ok := d.place[string(t)]
	if !ok {
		at = uint32(len(d.place))
		d.place[string(t)] = at
		d.plain = binary.LittleEndian.AppendUint32(d.plain, uint32(len(t)))
		d.plain = append(d.plain, t...)
	}
	d.places = append(d.places, at)
}

func newRowWriter(f disk.File) (*rowWriter, error) {
	schema, cols := chunkSchema()
	pw, err := newParquetWriter(f, schema, cols)
	if err != nil {
		return nil, err
	}
	w := &rowWriter{parquetWriter: pw, times: timesDict{place: map[string]uint32{}}}
	w.reset()
	return w, nil
}

func (w *rowWriter) reset() {
	for i := range w.buf {
		w.buf[i] = w.buf[i][:0]
	}
	w.n, w.inPage, w.data = 0, 0, 0
	w.page, w.packed, w.pages, w.ends = w.page[:0], w.packed[:0], w.pages[:0], w.ends[:0]
	clear(w.times.place)
	w.times.plain, w.times.places = w.times.plain[:0], w.times.places[:0]
	w.minT = [2]int64{math.MaxInt64, math.MinInt64}
	w.maxT = w.minT
}

// add appends a row.
func (w *rowWriter) add(ord uint32, c *chunk.Chunk) error {
	if w.n == groupRows || w.n > 0 && w.data+len(w.times.plain)+8+len(c.Data)+len(c.Times) > groupBytes {
		if err := w.flush(); err != nil {
			return err
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
	w.times.add(c.Times)
	w.page = binary.LittleEndian.AppendUint32(w.page, uint32(len(c.Data)))
	w.page = append(w.page, c.Data...)
	w.data += 4 + len(c.Data)
	w.inPage++
	if len(w.page) >= pageBytes {
		w.endPage()
	}
	w.n++
	w.minT = [2]int64{min(w.minT[0], c.MinTime), max(w.minT[1], c.MinTime)}
	w.maxT = [2]int64{min(w.maxT[0], c.MaxTime), max(w.maxT[1], c.MaxTime)}
	return nil
}

// endPage compresses the open page of data.
func (w *rowWriter) endPage() {
	if w.inPage == 0 {
		return
	}
	w.packed = w.z.pack(w.packed, w.page)
	w.pages = append(w.pages, page{kind: format.DataPage, enc: format.Plain, values: w.inPage, raw: len(w.page)})
	w.ends = append(w.ends, len(w.packed))
	w.page, w.inPage = w.page[:0], 0
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
		if err := w.columnChunk(format.Zstd, st, w.z.fixed(w.cols[i].typ, b, w.n)...); err != nil {
			return err
		}
	}
	if err := w.dictColumn(w.times.plain, len(w.times.place), w.times.places, nil, w.n); err != nil {
		return err
	}
	w.endPage()
	from := 0
	for i, end := range w.ends {
		w.pages[i].data = w.packed[from:end]
		from = end
	}
	if err := w.columnChunk(format.Zstd, format.Statistics{}, w.pages...); err != nil {
		return err
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
