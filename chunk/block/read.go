package block

import (
	"fmt"
	"math"
	"sort"
	"unsafe"

	"github.com/parquet-go/parquet-go/format"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Row is a row of chunks.parquet.
type Row struct {
	Num uint32
	chunk.Stats
	Encoding chunk.Encoding
}

// idsEvery is of how many series the ids are made at once. They are not in the file: a hash does not compress.
const idsEvery = 4 << 10

// ID returns the id of a series.
func (b *Block) ID(ord uint32) (series.ID, error) {
	if ord >= b.index.series {
		return series.ID{}, b.corrupt(SeriesFile, fmt.Errorf("there is no series %d", ord))
	}
	first := ord / idsEvery * idsEvery
	d, err := b.cache.get(&b.ids[ord/idsEvery], func() (*decoded, error) {
		ids := make([]byte, 0, 16*idsEvery)
		var key []byte
		for o := first; o < min(first+idsEvery, b.index.series); o++ {
			key = key[:0]
			err := b.index.each(o, func(name int, value []byte) { key = series.AppendLabel(key, b.index.names[name], view(value)) })
			if err := b.because(err); err != nil {
				return nil, err
			}
			id := series.HashKey(key).Bytes()
			ids = append(ids, id[:]...)
		}
		return &decoded{page: ids}, nil
	})
	if err != nil {
		return series.ID{}, err
	}
	return series.IDFromBytes([16]byte(d.page[16*(ord-first):])), nil
}

// Partition returns the partition of a series.
func (b *Block) Partition(ord uint32) (uint16, error) {
	g, err := b.series.group(ord)
	if err != nil {
		return 0, err
	}
	p := g.u32(serPartition, ord)
	if p >= shard.Partitions {
		return 0, b.corrupt(SeriesFile, fmt.Errorf("series %d is in partition %d", ord, p))
	}
	return uint16(p), nil
}

// Labels returns the labels of a series, which do not alias the map, and no labels when
// there is no such series or, as [Block.Err] tells then, they are damaged. The builder is the caller's scratch.
func (b *Block) Labels(ord uint32, sb *labels.ScratchBuilder) labels.Labels {
	key := b.number(ord)
	if ls, ok := b.cache.labels.Get(key); ok && b.Err() == nil {
		return ls
	}
	sb.Reset()
	sb.SetUnsafeAdd(true) // the values lie in the map: every form of labels must copy them
	if err := b.index.each(ord, func(name int, value []byte) { sb.Add(b.index.names[name], view(value)) }); err != nil || b.Err() != nil {
		return labels.EmptyLabels()
	}
	ls := sb.Labels()
	sb.Reset()
	if b.cache.labels.Due(key) {
		b.cache.labels.Put(key, ls, int64(ls.ByteSize()))
	}
	return ls
}

// AppendValues appends the values of some labels of a series to dst, each followed by the byte 0xff, which
// is in no value. A label that the series does not have is empty, and so is, as [Block.Err] tells then, a damaged one.
func (b *Block) AppendValues(dst []byte, ord uint32, names ...string) []byte {
	for _, name := range names {
		if from, to, ok := b.index.nameRange(name); ok && ord < b.index.series {
			if p, ok := b.index.pairOf(ord, from, to); ok {
				dst = append(dst, b.index.value(p)...)
			}
		}
		dst = append(dst, 0xff)
	}
	return dst
}

const (
	fewRows = 8 // of a series that has no more, all are kept while it is hot, and none is searched for
	rowSize = int64(unsafe.Sizeof(Row{}))
)

// Chunks appends the rows of a series that overlap [mint, maxt], in time order.
func (b *Block) Chunks(dst []Row, ord uint32, mint, maxt int64) ([]Row, error) {
	key := b.number(ord)
	rows, hot := b.cache.rows.Get(key)
	if !hot {
		from, to := b.index.rowsOf(ord)
		if err := b.Err(); err != nil {
			return dst, err
		}
		if to-from > fewRows || !b.cache.rows.Due(key) {
			return b.appendRows(dst, from, to, mint, maxt)
		}
		var err error
		if rows, err = b.appendRows(nil, from, to, math.MinInt64, math.MaxInt64); err != nil {
			return dst, err
		}
		b.cache.rows.Put(key, rows, int64(len(rows))*rowSize)
	}
	for _, r := range rows {
		if r.MinTime <= maxt && r.MaxTime >= mint {
			dst = append(dst, r)
		}
	}
	return dst, b.Err()
}

// appendRows appends those of the rows [from, to) of a series that overlap [mint, maxt].
func (b *Block) appendRows(dst []Row, from, to uint32, mint, maxt int64) (_ []Row, err error) {
	if to-from > fewRows {
		from += uint32(sort.Search(int(to-from), func(i int) bool {
			row := from + uint32(i)
			g, gerr := b.rows.group(row)
			if gerr != nil {
				err = gerr
				return true
			}
			return int64(g.u64(colMaxTime, row)) >= mint
		}))
	}
	var g group
	for row := from; row < to && err == nil; row++ {
		if g.rowGroup == nil || row-g.first >= uint32(g.n) {
			if g, err = b.rows.group(row); err != nil {
				break
			}
		}
		if int64(g.u64(colMinTime, row)) > maxt {
			break
		}
		if int64(g.u64(colMaxTime, row)) >= mint {
			dst = append(dst, g.row(row))
		}
	}
	return dst, err
}

func (g *group) row(row uint32) Row {
	f := func(col int) float64 { return math.Float64frombits(g.u64(col, row)) }
	return Row{
		Num: row, Encoding: chunk.Encoding(g.u32(colEncoding, row)),
		Stats: chunk.Stats{
			MinTime: int64(g.u64(colMinTime, row)), MaxTime: int64(g.u64(colMaxTime, row)),
			Samples: uint64(g.u32(colSamples, row)), Stale: uint64(g.u32(colStale, row)),
			Sum: f(colSum), Min: f(colMin), Max: f(colMax), First: f(colFirst), Last: f(colLast), Increase: f(colIncrease),
		},
	}
}

// Serial is that of the chunk of a row.
func (b *Block) Serial(r Row) uint64 { return b.number(r.Num) }

// Chunk returns a row as a chunk, whose bytes are verified. They are not to be written, and stay valid as long as they are held.
func (b *Block) Chunk(r Row) (chunk.Chunk, error) {
	c := chunk.Chunk{Stats: r.Stats, Encoding: r.Encoding, Serial: b.Serial(r)}
	g, err := b.rows.group(r.Num)
	if err != nil {
		return c, err
	}
	if c.Times, err = b.rows.timesOf(g.rowGroup, r.Num-g.first); err != nil {
		return c, err
	}
	c.Data, err = b.rows.dataOf(g.rowGroup, r.Num-g.first)
	return c, err
}

// timesOf returns the times of a row of a row group.
func (c *columns) timesOf(g *rowGroup, row uint32) ([]byte, error) {
	d, err := c.cache.get(&g.times, func() (*decoded, error) {
		d, err := c.decodeTimes(g)
		if err != nil {
			err = c.corrupt(g.spans[colTimes].off, fmt.Errorf("column times: %w", err))
		}
		return d, err
	})
	if err != nil {
		return nil, err
	}
	return d.entry(d.places[row]), nil
}

func (c *columns) decodeTimes(g *rowGroup) (*decoded, error) {
	enc, raw, dict, entries, err := c.onePage(g, colTimes)
	if err != nil {
		return nil, err
	}
	if enc != format.RLEDictionary || entries < 1 || entries > g.n {
		return nil, fmt.Errorf("%w: encoding %v with %d entries", ErrUnsupported, enc, entries)
	}
	d := &decoded{page: dict}
	if d.ends, err = plainEnds(dict, entries); err != nil {
		return nil, err
	}
	d.places, err = decodePlaces(raw, entries, g.n)
	return d, err
}

// plainEnds returns where each of n byte arrays of a PLAIN page ends.
func plainEnds(page []byte, n int) ([]uint32, error) {
	ends := make([]uint32, 0, n)
	for at := uint64(0); len(ends) < n; {
		if at+4 > uint64(len(page)) || uint64(le32(page[at:])) > uint64(len(page))-at-4 {
			return nil, fmt.Errorf("value %d does not fit its page", len(ends))
		}
		at += 4 + uint64(le32(page[at:]))
		ends = append(ends, uint32(at))
	}
	return ends, nil
}

// entry returns the i-th byte array of a page.
func (d *decoded) entry(i uint32) []byte {
	from := uint32(0)
	if i > 0 {
		from = d.ends[i-1]
	}
	return d.page[from+4 : d.ends[i] : d.ends[i]]
}

// dataOf returns the data of a row of a row group.
func (c *columns) dataOf(g *rowGroup, row uint32) ([]byte, error) {
	pages, err := c.dataPages(g)
	if err != nil {
		return nil, err
	}
	i := sort.Search(len(pages), func(i int) bool { return pages[i].first > row }) - 1
	p := &pages[i]
	d, err := c.cache.get(&p.slot, func() (*decoded, error) {
		_, raw, _, err := c.pageAt(g, colData, c.data[p.at:g.spans[colData].end])
		if err == nil {
			var ends []uint32
			if ends, err = plainEnds(raw, int(p.n)); err == nil {
				return &decoded{page: raw, ends: ends}, nil
			}
		}
		return nil, c.corrupt(p.at, fmt.Errorf("column data: %w", err))
	})
	if err != nil {
		return nil, err
	}
	return d.entry(row - p.first), nil
}

// dataPages finds the pages of a row group's data, of which it reads the headers only.
func (c *columns) dataPages(g *rowGroup) ([]dataPage, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.data != nil {
		return g.data, nil
	}
	var pages []dataPage
	raw, rows := int64(0), uint32(0)
	for at := g.spans[colData].off; at < g.spans[colData].end; {
		var h format.PageHeader
		b := c.data[at:g.spans[colData].end]
		n, err := decodeThrift(b, &h)
		if err == nil && (h.Type != format.DataPage || !h.DataPageHeader.Valid || h.DataPageHeader.V.Encoding != format.Plain) {
			err = fmt.Errorf("%w: page %v", ErrUnsupported, h.Type)
		}
		if v := h.DataPageHeader.V.NumValues; err == nil && (h.CompressedPageSize < 0 || int(h.CompressedPageSize) > len(b)-n || v < 1 || int(v) > g.n) {
			err = fmt.Errorf("a page of %d bytes and %d values does not fit", h.CompressedPageSize, v)
		}
		if err != nil {
			return nil, c.corrupt(at, fmt.Errorf("column data: %w", err))
		}
		v := uint32(h.DataPageHeader.V.NumValues)
		pages = append(pages, dataPage{first: rows, n: v, at: at})
		raw += int64(n) + int64(h.UncompressedPageSize)
		rows += v
		at += int64(n) + int64(h.CompressedPageSize)
	}
	// Page headers have no checksum, but the footer, which has one, says what they add up to.
	if rows != uint32(g.n) || raw != g.raw[colData] {
		return nil, c.corrupt(g.spans[colData].off, fmt.Errorf("column data: %d values in %d bytes, want %d in %d", rows, raw, g.n, g.raw[colData]))
	}
	g.data = pages
	return pages, nil
}
