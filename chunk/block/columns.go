package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/parquet-go/parquet-go/format"
)

// columns are a mapped Parquet file some of whose columns are read where they lie.
type columns struct {
	dir, name string // for errors
	data      []byte
	cols      []column
	plain     int // the first so many columns are read in place
	unchecked int // of these, this one's pages are not checked as a whole
	groups    []*rowGroup
	rows      uint64
}

// rowGroup is where a row group's columns are.
type rowGroup struct {
	first  uint32 // row
	n      int    // rows
	spans  []span // by column
	ready  atomic.Bool
	mu     sync.Mutex // held while values is made
	values [][]byte   // by column: what follows the page header; read it when ready
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
	if rg.NumRows < 1 || c.rows+uint64(rg.NumRows) > 1<<32-1 || rg.NumRows > limit {
		return fmt.Errorf("%d rows", rg.NumRows)
	}
	g := &rowGroup{first: uint32(c.rows), n: int(rg.NumRows)}
	for i := range rg.Columns {
		md, want := &rg.Columns[i].MetaData, c.cols[i]
		if !slices.Equal(md.PathInSchema, want.path) || md.Type != want.typ {
			return fmt.Errorf("%w: column %d is %v %v, want %v %v", ErrUnsupported, i, md.PathInSchema, md.Type, want.path, want.typ)
		}
		if i < c.plain {
			if md.Codec != format.Uncompressed || len(md.Encoding) != 1 || md.Encoding[0] != format.Plain || md.DictionaryPageOffset != 0 {
				return fmt.Errorf("%w: column %v is %v, %v", ErrUnsupported, want.path, md.Encoding, md.Codec)
			}
			if md.NumValues != rg.NumRows {
				return fmt.Errorf("column %v has %d values, want %d", want.path, md.NumValues, rg.NumRows)
			}
		}
		off := md.DataPageOffset
		if md.DictionaryPageOffset != 0 {
			off = md.DictionaryPageOffset
		}
		s := span{off, off + md.TotalCompressedSize}
		if s.off < int64(len(parquetMagic)) || md.TotalCompressedSize < 0 || s.end < s.off || s.end > limit {
			return fmt.Errorf("column %v lies at %d to %d", want.path, s.off, s.end)
		}
		g.spans = append(g.spans, s)
	}
	c.groups = append(c.groups, g)
	c.rows += uint64(rg.NumRows)
	return nil
}

// group returns the row group of a row, verified.
func (c *columns) group(row uint32) (*rowGroup, error) {
	i := sort.Search(len(c.groups), func(i int) bool { return c.groups[i].first > row }) - 1
	if i < 0 || uint64(row) >= c.rows {
		return nil, c.corrupt(-1, fmt.Errorf("there is no row %d", row))
	}
	g := c.groups[i]
	if g.ready.Load() {
		return g, nil
	}
	return g, c.load(g)
}

// load finds the values of a row group's columns and verifies their checksums.
func (c *columns) load(g *rowGroup) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready.Load() {
		return nil
	}
	values := make([][]byte, c.plain)
	for i := range values {
		v, err := c.pageValues(g, i)
		if err != nil {
			return c.corrupt(g.spans[i].off, fmt.Errorf("column %v: %w", c.cols[i].path, err))
		}
		values[i] = v
	}
	g.values = values
	g.ready.Store(true)
	return nil
}

// pageValues parses the page header of a column and returns the values behind it.
func (c *columns) pageValues(g *rowGroup, col int) ([]byte, error) {
	b := c.data[g.spans[col].off:g.spans[col].end]
	var h format.PageHeader
	n, err := decodeThrift(b, &h)
	if err != nil {
		return nil, fmt.Errorf("decode page header: %w", err)
	}
	b = b[n:]
	dp := h.DataPageHeader.V
	switch {
	case h.Type != format.DataPage || !h.DataPageHeader.Valid || dp.Encoding != format.Plain:
		return nil, fmt.Errorf("%w: page %v, %v", ErrUnsupported, h.Type, dp.Encoding)
	case int(h.CompressedPageSize) != len(b) || h.UncompressedPageSize != h.CompressedPageSize || int(dp.NumValues) != g.n:
		return nil, fmt.Errorf("a page of %d bytes and %d values, want one of %d and %d", h.CompressedPageSize, dp.NumValues, len(b), g.n)
	}
	if w := c.cols[col].width; w > 0 && len(b) != w*g.n {
		return nil, fmt.Errorf("%d bytes for %d values of %d", len(b), g.n, w)
	}
	if col != c.unchecked {
		if got := int32(crc32.ChecksumIEEE(b)); got != h.CRC {
			return nil, fmt.Errorf("checksum mismatch: %08x, want %08x", uint32(got), uint32(h.CRC))
		}
	}
	return b, nil
}

// verifyUnchecked verifies the checksum of the column that load does not.
func (c *columns) verifyUnchecked(g *rowGroup) error {
	s := g.spans[c.unchecked]
	var h format.PageHeader
	n, err := decodeThrift(c.data[s.off:s.end], &h)
	if err == nil && int32(crc32.ChecksumIEEE(c.data[s.off+int64(n):s.end])) != h.CRC {
		err = errors.New("checksum mismatch")
	}
	if err != nil {
		return c.corrupt(s.off, fmt.Errorf("column %v: %w", c.cols[c.unchecked].path, err))
	}
	return nil
}

func (g *rowGroup) u32(col int, row uint32) uint32 {
	return binary.LittleEndian.Uint32(g.values[col][4*(row-g.first):])
}

func (g *rowGroup) u64(col int, row uint32) uint64 {
	return binary.LittleEndian.Uint64(g.values[col][8*(row-g.first):])
}
