package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"sync"

	"github.com/parquet-go/parquet-go/format"
)

// columns are a mapped Parquet file some of whose columns are read without a library.
type columns struct {
	dir, name string // for errors
	data      []byte
	cols      []column
	fixed     int // the first so many columns have values of fixed width, and are decoded together
	pages     int // so many columns behind them are read page by page; what follows is not read here
	cache     *Cache
	groups    []*rowGroup
	rows      uint64
}

// rowGroup is where a row group's columns are.
type rowGroup struct {
	first  uint32 // row
	n      int    // rows
	spans  []span // by column
	codecs []format.CompressionCodec
	raw    []int64 // by column: bytes before compression, page headers included
	fixed  slot
	times  slot // of chunks.parquet

	mu   sync.Mutex // guards data
	data []dataPage // the pages of chunks.parquet's data; nil until they are looked for
}

// dataPage is a page of byte arrays.
type dataPage struct {
	first, n uint32 // rows, counted in the row group
	at       int64  // of the header, in the file
	slot     slot
}

// group is a row group with its columns of fixed width.
type group struct {
	*rowGroup
	values [][]byte // by column, as in a PLAIN page
}

// span is a column chunk in the file.
type span struct{ off, end int64 }

func (c *columns) corrupt(off int64, err error) error {
	return &CorruptError{Block: c.dir, File: c.name, Offset: off, Err: err}
}

// open reads the footer, whose checksum is sum.
func (c *columns) open(sum string) error {
	b := c.data
	tail := 4 + len(parquetMagic)
	if len(b) < len(parquetMagic)+tail || string(b[:4]) != parquetMagic || string(b[len(b)-4:]) != parquetMagic {
		return c.corrupt(-1, errors.New("it is not a Parquet file"))
	}
	n := int64(binary.LittleEndian.Uint32(b[len(b)-tail:]))
	at := int64(len(b)-tail) - n
	if at < int64(len(parquetMagic)) {
		return c.corrupt(int64(len(b)-tail), fmt.Errorf("a footer of %d bytes does not fit", n))
	}
	if got := hex32(crc32.Checksum(b[at:], castagnoli)); got != sum {
		return c.corrupt(at, fmt.Errorf("checksum mismatch in the footer: %s, want %s", got, sum))
	}
	var md format.FileMetaData
	if _, err := decodeThrift(b[at:at+n], &md); err != nil {
		return c.corrupt(at, fmt.Errorf("decode footer: %w", err))
	}
	for i := range md.RowGroups {
		if err := c.addGroup(&md.RowGroups[i], at); err != nil {
			return c.corrupt(at, fmt.Errorf("row group %d: %w", i, err))
		}
	}
	if uint64(md.NumRows) != c.rows {
		return c.corrupt(at, fmt.Errorf("it says %d rows, its row groups have %d", md.NumRows, c.rows))
	}
	return nil
}

// addGroup checks what the footer, which begins at limit, says of a row group.
func (c *columns) addGroup(rg *format.RowGroup, limit int64) error {
	if len(rg.Columns) != len(c.cols) {
		return fmt.Errorf("%w: %d columns, want %d", ErrUnsupported, len(rg.Columns), len(c.cols))
	}
	if rg.NumRows < 1 || c.rows+uint64(rg.NumRows) > 1<<32-1 || rg.NumRows > max(groupRows, seriesGroupRows) {
		return fmt.Errorf("%d rows", rg.NumRows)
	}
	g := &rowGroup{first: uint32(c.rows), n: int(rg.NumRows)}
	for i := range rg.Columns {
		md, want := &rg.Columns[i].MetaData, c.cols[i]
		if !slices.Equal(md.PathInSchema, want.path) || md.Type != want.typ {
			return fmt.Errorf("%w: column %d is %v %v, want %v %v", ErrUnsupported, i, md.PathInSchema, md.Type, want.path, want.typ)
		}
		if i < c.fixed+c.pages && md.NumValues != rg.NumRows {
			return fmt.Errorf("column %v has %d values, want %d", want.path, md.NumValues, rg.NumRows)
		}
		off := md.DataPageOffset
		if md.DictionaryPageOffset != 0 {
			off = md.DictionaryPageOffset
		}
		s := span{off, off + md.TotalCompressedSize}
		if s.off < int64(len(parquetMagic)) || md.TotalCompressedSize < 0 || s.end < s.off || s.end > limit {
			return fmt.Errorf("column %v lies at %d to %d", want.path, s.off, s.end)
		}
		g.spans, g.codecs, g.raw = append(g.spans, s), append(g.codecs, md.Codec), append(g.raw, md.TotalUncompressedSize)
	}
	c.groups = append(c.groups, g)
	c.rows += uint64(rg.NumRows)
	return nil
}

// group returns the row group of a row, verified.
func (c *columns) group(row uint32) (group, error) {
	i := sort.Search(len(c.groups), func(i int) bool { return c.groups[i].first > row }) - 1
	if i < 0 || uint64(row) >= c.rows {
		return group{}, c.corrupt(-1, fmt.Errorf("there is no row %d", row))
	}
	return c.load(c.groups[i])
}

// load returns a row group with its columns of fixed width.
func (c *columns) load(g *rowGroup) (group, error) {
	d, err := c.cache.get(&g.fixed, func() (*decoded, error) {
		d := &decoded{cols: make([][]byte, c.fixed)}
		for i := range d.cols {
			var err error
			if d.cols[i], err = c.fixedValues(g, i); err != nil {
				return nil, c.corrupt(g.spans[i].off, fmt.Errorf("column %v: %w", c.cols[i].path, err))
			}
		}
		return d, nil
	})
	if err != nil {
		return group{}, err
	}
	return group{g, d.cols}, nil
}

// pageAt parses the page header at the front of b, verifies the page behind it and returns it decompressed, with how
// many bytes of b it takes.
func (c *columns) pageAt(g *rowGroup, col int, b []byte) (h format.PageHeader, raw []byte, size int, err error) {
	n, err := decodeThrift(b, &h)
	if err != nil {
		return h, nil, 0, fmt.Errorf("decode page header: %w", err)
	}
	if h.CompressedPageSize < 0 || int(h.CompressedPageSize) > len(b)-n {
		return h, nil, 0, fmt.Errorf("a page of %d bytes does not fit", h.CompressedPageSize)
	}
	size = n + int(h.CompressedPageSize)
	if got := int32(crc32.ChecksumIEEE(b[n:size])); got != h.CRC {
		return h, nil, 0, fmt.Errorf("checksum mismatch: %08x, want %08x", uint32(got), uint32(h.CRC))
	}
	raw, err = c.cache.unpack(g.codecs[col], &h, b[n:size])
	return h, raw, size, err
}

// onePage reads a column chunk of one page of data, perhaps behind a dictionary.
func (c *columns) onePage(g *rowGroup, col int) (enc format.Encoding, raw, dict []byte, entries int, err error) {
	b := c.data[g.spans[col].off:g.spans[col].end]
	h, raw, n, err := c.pageAt(g, col, b)
	if err == nil && h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid {
		dict, entries = raw, int(h.DictionaryPageHeader.V.NumValues)
		b = b[n:]
		h, raw, n, err = c.pageAt(g, col, b)
	}
	switch {
	case err != nil:
		return 0, nil, nil, 0, err
	case h.Type != format.DataPage || !h.DataPageHeader.Valid:
		return 0, nil, nil, 0, fmt.Errorf("%w: page %v", ErrUnsupported, h.Type)
	case n != len(b) || int(h.DataPageHeader.V.NumValues) != g.n:
		return 0, nil, nil, 0, fmt.Errorf("a page of %d bytes and %d values, want one of %d and %d", n, h.DataPageHeader.V.NumValues, len(b), g.n)
	}
	return h.DataPageHeader.V.Encoding, raw, dict, entries, nil
}

// fixedValues returns the values of a column of fixed width.
func (c *columns) fixedValues(g *rowGroup, col int) ([]byte, error) {
	enc, raw, dict, entries, err := c.onePage(g, col)
	if err != nil {
		return nil, err
	}
	if w := c.cols[col].width; dict != nil && len(dict) != w*entries {
		return nil, fmt.Errorf("a dictionary of %d bytes for %d values of %d", len(dict), entries, w)
	}
	return decodeFixed(c.cols[col], enc, raw, dict, g.n)
}

func (g *group) u32(col int, row uint32) uint32 {
	return binary.LittleEndian.Uint32(g.values[col][4*(row-g.first):])
}

func (g *group) u64(col int, row uint32) uint64 {
	return binary.LittleEndian.Uint64(g.values[col][8*(row-g.first):])
}

// slots calls f with every slot of the file.
func (c *columns) slots(f func(*slot)) {
	for _, g := range c.groups {
		f(&g.fixed)
		f(&g.times)
		g.mu.Lock()
		for i := range g.data {
			f(&g.data[i].slot)
		}
		g.mu.Unlock()
	}
}
