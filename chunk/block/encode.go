package block

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/bytestreamsplit"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// compressor makes the pages of columns. It keeps its memory from page to page.
type compressor struct {
	zstd  *zstd.Encoder
	buf   [2][]byte // before compression, and after
	best  []byte
	dict  []byte
	place map[uint64]uint32
	index []uint32
}

func newCompressor() (*compressor, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &compressor{zstd: enc, place: map[uint64]uint32{}}, nil
}

func (z *compressor) pack(dst, raw []byte) []byte { return z.zstd.EncodeAll(raw, dst) }

// fixed returns the pages of a column of fixed width, whose values lie as in a PLAIN page: in the encoding, of those that
// suit its type, that is the smallest when compressed. The pages are good until the next call.
func (z *compressor) fixed(typ format.Type, plain []byte, n int) []page {
	pages := []page{z.dataPage(format.Plain, plain, n)}
	var enc []byte
	switch typ {
	case format.Int32:
		enc, _ = new(delta.BinaryPackedEncoding).EncodeInt32(z.buf[0][:0], cast[int32](plain))
		z.better(pages, format.DeltaBinaryPacked, enc, n)
	case format.Int64:
		enc, _ = new(delta.BinaryPackedEncoding).EncodeInt64(z.buf[0][:0], cast[int64](plain))
		z.better(pages, format.DeltaBinaryPacked, enc, n)
	case format.Double:
		enc, _ = new(bytestreamsplit.Encoding).EncodeDouble(z.buf[0][:0], cast[float64](plain))
		z.better(pages, format.ByteStreamSplit, enc, n)
		pages = z.dictionary(pages, plain, n)
	}
	if cap(enc) > cap(z.buf[0]) {
		z.buf[0] = enc
	}
	return pages
}

// dataPage compresses a data page into best.
func (z *compressor) dataPage(enc format.Encoding, raw []byte, n int) page {
	z.best = z.pack(z.best[:0], raw)
	return page{kind: format.DataPage, enc: enc, values: n, raw: len(raw), data: z.best}
}

// better replaces the page when raw is smaller compressed.
func (z *compressor) better(pages []page, enc format.Encoding, raw []byte, n int) {
	z.buf[1] = z.pack(z.buf[1][:0], raw)
	if len(z.buf[1]) < len(z.best) {
		z.best, z.buf[1] = z.buf[1], z.best
		pages[0] = page{kind: format.DataPage, enc: enc, values: n, raw: len(raw), data: z.best}
	}
}

// dictionary returns a dictionary page and a page of places in it, when these are smaller than one page. Decimals and
// counts repeat from row to row, and their bits compress badly in any other way.
func (z *compressor) dictionary(pages []page, plain []byte, n int) []page {
	clear(z.place)
	z.dict, z.index = z.dict[:0], z.index[:0]
	for _, x := range cast[uint64](plain) {
		at, ok := z.place[x]
		if !ok {
			at = uint32(len(z.place))
			if at > uint32(n/2) {
				return pages
			}
			z.place[x] = at
			z.dict = binary.LittleEndian.AppendUint64(z.dict, x)
		}
		z.index = append(z.index, at)
	}
	width := hybridWidth(len(z.place))
	raw := appendHybrid(append(z.buf[0][:0], byte(width)), z.index, width)
	z.buf[0] = raw
	packed := z.pack(z.buf[1][:0], z.dict)
	at := len(packed)
	packed = z.pack(packed, raw)
	z.buf[1] = packed
	if len(packed) >= len(z.best) {
		return pages
	}
	return []page{
		{kind: format.DictionaryPage, enc: format.Plain, values: len(z.place), raw: len(z.dict), data: packed[:at]},
		{kind: format.DataPage, enc: format.RLEDictionary, values: n, raw: len(raw), data: packed[at:]},
	}
}

// cast views bytes, little endian, as numbers. The bytes are aligned: they begin where an allocation does.
func cast[T int32 | int64 | uint64 | float64](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var x T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(x)))
}

// maxPage bounds a page before compression.
const maxPage = 64 << 20

// unpack returns a page as it was before compression.
func (c *Cache) unpack(codec format.CompressionCodec, h *format.PageHeader, b []byte) ([]byte, error) {
	raw := int(h.UncompressedPageSize)
	switch {
	case raw < 0 || raw > maxPage:
		return nil, fmt.Errorf("a page of %d bytes", raw)
	case codec == format.Uncompressed && raw == len(b):
		return b, nil
	case codec != format.Zstd:
		return nil, fmt.Errorf("%w: a page of %d bytes in %d, %v", ErrUnsupported, raw, len(b), codec)
	}
	out, err := c.zstd.DecodeAll(b, make([]byte, 0, raw))
	if err == nil && len(out) != raw {
		err = fmt.Errorf("a page of %d bytes, want %d", len(out), raw)
	}
	return out, err
}

// decodeFixed returns n values of a column of fixed width as they lie in a PLAIN page.
func decodeFixed(col column, enc format.Encoding, raw, dict []byte, n int) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil { // of the library, by bytes whose checksum is right and which no writer made
			err = fmt.Errorf("decode: %v", p)
		}
	}()
	want := n * col.width
	switch {
	case dict != nil && enc != format.RLEDictionary:
		return nil, fmt.Errorf("%w: encoding %v behind a dictionary", ErrUnsupported, enc)
	case enc == format.Plain:
		out = raw
	case enc == format.DeltaBinaryPacked && col.typ == format.Int32:
		var v []int32
		v, err = new(delta.BinaryPackedEncoding).DecodeInt32(make([]int32, 0, n), raw)
		out = bytesOf(v)
	case enc == format.DeltaBinaryPacked && col.typ == format.Int64:
		var v []int64
		v, err = new(delta.BinaryPackedEncoding).DecodeInt64(make([]int64, 0, n), raw)
		out = bytesOf(v)
	case enc == format.ByteStreamSplit && col.typ == format.Double && len(raw) == want:
		var v []float64
		v, err = new(bytestreamsplit.Encoding).DecodeDouble(make([]float64, 0, n), raw)
		out = bytesOf(v)
	case enc == format.RLEDictionary && col.width == 8:
		var places []uint32
		if places, err = decodePlaces(raw, len(dict)/8, n); err != nil {
			return nil, err
		}
		out = make([]byte, 0, want)
		for _, p := range places {
			out = append(out, dict[8*p:8*p+8]...)
		}
	default:
		return nil, fmt.Errorf("%w: encoding %v", ErrUnsupported, enc)
	}
	if err == nil && len(out) != want {
		err = fmt.Errorf("%d bytes for %d values of %d", len(out), n, col.width)
	}
	return out, err
}

func bytesOf[T int32 | int64 | float64](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	var x T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(x)))
}

// decodePlaces decodes n places, each below limit, of a page that a dictionary belongs to.
func decodePlaces(b []byte, limit, n int) ([]uint32, error) {
	if len(b) == 0 || b[0] > 32 {
		return nil, fmt.Errorf("a page of %d bytes has no width", len(b))
	}
	places, err := decodeHybrid(make([]uint32, 0, n), b[1:], int(b[0]), n)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if int64(p) >= int64(min(limit, math.MaxInt32)) {
			return nil, fmt.Errorf("place %d of %d", p, limit)
		}
	}
	return places, nil
}
