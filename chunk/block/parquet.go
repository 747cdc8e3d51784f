package block

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/minitrue/minitrue/chunk/disk"
)

// parquetMagic begins and ends a Parquet file.
const parquetMagic = "PAR1"

// createdBy is in every footer, in the form that the Parquet specification asks for.
const createdBy = "minitrue version 1 (build 1)"

// column is a leaf of a schema.
type column struct {
	path  []string
	typ   format.Type
	width int // bytes of a value as it lies in a PLAIN page; 0 means length-prefixed
}

// A Parquet file is written row group by row group and column by column, as the
// format page (parquet-format's README) draws it.
type parquetWriter struct {
	out    *output
	schema []format.SchemaElement
	cols   []column
	groups []format.RowGroup
	rows   int64

	group   format.RowGroup // being written
	scratch bytes.Buffer
	enc     *thrift.Encoder

	z           *compressor
	raw, packed []byte // pages of dictColumn
	rest        func() // see WriterOptions
}

func newParquetWriter(f disk.File, schema []format.SchemaElement, cols []column) (*parquetWriter, error) {
	z, err := newCompressor()
	if err != nil {
		return nil, err
	}
	w := &parquetWriter{out: newOutput(f), schema: schema, cols: cols, z: z, rest: func() {}}
	w.enc = thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&w.scratch))
	_, _ = w.out.Write([]byte(parquetMagic)) // the error sticks
	return w, nil
}

// page is one page of a column chunk.
type page struct {
	kind   format.PageType
	enc    format.Encoding
	values int
	raw    int    // bytes before compression
	data   []byte // as it goes to the file
}

// columnChunk writes the pages of the next column of the current row group.
func (w *parquetWriter) columnChunk(codec format.CompressionCodec, stats format.Statistics, pages ...page) error {
	c := w.cols[len(w.group.Columns)]
	md := format.ColumnMetaData{
		Type: c.typ, PathInSchema: c.path, Codec: codec, Statistics: stats,
	}
	for _, p := range pages {
		w.rest()
		at := w.out.n
		if len(p.data) > math.MaxInt32 || p.raw > math.MaxInt32 {
			return fmt.Errorf("write column %v: a page of %d bytes is too large", c.path, p.raw)
		}
		if err := w.page(p); err != nil {
			return err
		}
		size := w.out.n - at
		md.TotalCompressedSize += size
		md.TotalUncompressedSize += size - int64(len(p.data)) + int64(p.raw)
		md.Encoding = append(md.Encoding, p.enc)
		if p.kind == format.DictionaryPage {
			md.DictionaryPageOffset = at
			continue
		}
		md.NumValues += int64(p.values)
		if md.DataPageOffset == 0 {
			md.DataPageOffset = at
		}
	}
	if len(w.group.Columns) == 0 {
		w.group.FileOffset = md.DataPageOffset
	}
	w.group.TotalByteSize += md.TotalUncompressedSize
	w.group.TotalCompressedSize += md.TotalCompressedSize
	w.group.Columns = append(w.group.Columns, format.ColumnChunk{MetaData: md})
	return nil
}

func (w *parquetWriter) page(p page) error {
	h := format.PageHeader{
		Type: p.kind, UncompressedPageSize: int32(p.raw), CompressedPageSize: int32(len(p.data)),
		CRC: int32(crc32.ChecksumIEEE(p.data)),
	}
	if p.kind == format.DictionaryPage {
		h.DictionaryPageHeader = thrift.New(format.DictionaryPageHeader{NumValues: int32(p.values), Encoding: p.enc})
	} else {
		h.DataPageHeader = thrift.New(format.DataPageHeader{
			NumValues: int32(p.values), Encoding: p.enc,
			DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		})
	}
	w.scratch.Reset()
	if err := w.enc.Encode(&h); err != nil {
		return fmt.Errorf("write page header: %w", err)
	}
	if _, err := w.out.Write(w.scratch.Bytes()); err != nil {
		return err
	}
	_, err := w.out.Write(p.data)
	return err
}

// dictColumn writes the next column, of byte arrays: a dictionary page of entries, PLAIN, and a page of places in it
// behind the levels of a repeated column.
func (w *parquetWriter) dictColumn(plain []byte, entries int, places []uint32, levels []byte, rows int) error {
	width := hybridWidth(entries)
	w.rest()
	w.raw = append(append(w.raw[:0], levels...), byte(width))
	w.raw = appendHybrid(w.raw, places, width)
	w.rest()
	w.packed = w.z.pack(w.packed[:0], plain)
	w.rest()
	at := len(w.packed)
	w.packed = w.z.pack(w.packed, w.raw)
	return w.columnChunk(format.Zstd, format.Statistics{},
		page{kind: format.DictionaryPage, enc: format.Plain, values: entries, raw: len(plain), data: w.packed[:at]},
		page{kind: format.DataPage, enc: format.RLEDictionary, values: rows, raw: len(w.raw), data: w.packed[at:]})
}

// endGroup ends the current row group. sorted are the columns its rows are sorted by.
func (w *parquetWriter) endGroup(rows int, sorted ...int32) error {
	if len(w.groups) == math.MaxInt16 {
		return fmt.Errorf("end row group: a file holds at most %d", math.MaxInt16)
	}
	for _, c := range sorted {
		w.group.SortingColumns = append(w.group.SortingColumns, format.SortingColumn{ColumnIdx: c})
	}
	w.group.NumRows, w.group.Ordinal = int64(rows), int16(len(w.groups))
	w.groups = append(w.groups, w.group)
	w.group = format.RowGroup{}
	w.rows += int64(rows)
	return nil
}

// finish writes the footer and makes the file durable.
func (w *parquetWriter) finish() (FileMeta, error) {
	md := format.FileMetaData{
		Version: 1, Schema: w.schema, NumRows: w.rows, RowGroups: w.groups, CreatedBy: createdBy,
	}
	for range w.cols {
		md.ColumnOrders = append(md.ColumnOrders, format.ColumnOrder{Value: &format.TypeDefinedOrder{}})
	}
	w.scratch.Reset()
	if err := w.enc.Encode(&md); err != nil {
		return FileMeta{}, fmt.Errorf("write footer: %w", err)
	}
	footer := w.scratch.Bytes()
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	footer = append(footer, parquetMagic...)
	if _, err := w.out.Write(footer); err != nil {
		return FileMeta{}, err
	}
	fm, err := w.out.finish()
	fm.Footer = hex32(crc32.Checksum(footer, castagnoli))
	return fm, err
}

// leaf is a required column of a flat schema.
func leaf(name string, t format.Type, lt format.LogicalType, ct deprecated.ConvertedType) format.SchemaElement {
	e := format.SchemaElement{
		Name: name, Type: thrift.New(t), RepetitionType: thrift.New(format.Required), LogicalType: lt,
	}
	if lt.Value != nil {
		e.ConvertedType = thrift.New(ct)
	}
	return e
}

func unsignedLeaf(name string, bits int8) format.SchemaElement {
	ct := deprecated.Uint32
	switch bits {
	case 8:
		ct = deprecated.Uint8
	case 16:
		ct = deprecated.Uint16
	}
	return leaf(name, format.Int32, format.LogicalType{Value: &format.IntType{BitWidth: bits}}, ct)
}

func stringLeaf(name string) format.SchemaElement {
	return leaf(name, format.ByteArray, format.LogicalType{Value: &format.StringType{}}, deprecated.UTF8)
}

func plainLeaf(name string, t format.Type) format.SchemaElement {
	return leaf(name, t, format.LogicalType{}, 0)
}

func rootElement(children int32) format.SchemaElement {
	return format.SchemaElement{Name: "schema", NumChildren: thrift.New(children)}
}

// bounds are the statistics of a column without nulls.
func bounds(low, high []byte) format.Statistics {
	return format.Statistics{MinValue: low, MaxValue: high}
}
