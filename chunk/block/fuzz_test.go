package block

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
)

// The sections of an index, with right checksums around whatever they hold.
func FuzzIndex(f *testing.F) {
	dir, _, _ := smallBlock(f)
	x := openBlock(f, dir).index
	var good [sections][]byte
	for i, b := range x.sec {
		good[i] = slices.Clone(b)
	}
	for i := range good {
		f.Add(uint8(i), good[i])
	}
	f.Add(uint8(secMarks), bytes.Repeat([]byte{255}, 12))
	f.Add(uint8(secNames), bytes.Repeat([]byte{255}, 12))
	f.Fuzz(func(t *testing.T, sec uint8, b []byte) {
		sec %= sections
		var out bytes.Buffer
		w := newIndexWriter(&out, newPairs())
		for i := range sections {
			w.begin(i)
			if i == int(sec) {
				w.put(i, b)
			} else {
				w.put(i, good[i])
			}
		}
		_, _ = w.w.Write(w.trailer(ulid.ULID{}, x.series, x.rows, x.pairs, uint32(len(x.names))))
		_ = w.w.Flush()
		idx, err := openIndex(out.Bytes(), ulid.ULID{}, uint64(x.series), uint64(x.rows), new(atomic.Uint32))
		if err != nil {
			return
		}
		s := selection{index: idx}
		_, _ = s.run([]*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "device_id", ".+"), labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")})
		for ord := range x.series + 1 {
			_ = idx.each(ord, func(int, []byte) {})
			_, _ = idx.rowsOf(ord)
		}
		for p := range idx.pairs {
			_, _ = idx.appendList(nil, p)
		}
	})
}

func FuzzMeta(f *testing.F) {
	_, _, files := smallBlock(f)
	f.Add(files[MetaFile])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		if _, err := encodeMeta(m); err != nil {
			t.Fatal(err)
		}
	})
}

// A footer that is not what was written, but has the right checksum.
func FuzzFooter(f *testing.F) {
	_, _, files := smallBlock(f)
	for _, name := range []string{ChunksFile, SeriesFile} {
		b := files[name]
		n := int(le32(b[len(b)-8:]))
		f.Add(b[len(b)-8-n : len(b)-8])
	}
	f.Add([]byte{0x29, 0xfc, 0xff, 0xff, 0xff, 0x07})
	f.Fuzz(func(t *testing.T, footer []byte) {
		data := append([]byte(parquetMagic), make([]byte, 2000)...)
		tail := binary.LittleEndian.AppendUint32(slices.Clone(footer), uint32(len(footer)))
		tail = append(tail, parquetMagic...)
		data = append(data, tail...)
		_, chunks := chunkSchema()
		_, series := seriesSchema()
		for _, c := range []*columns{
			{data: data, cols: chunks, fixed: colTimes, pages: 2, cache: NewCache(0)}, {data: data, cols: series, fixed: serMetric, cache: NewCache(0)},
		} {
			if c.open(hex32(crc32.Checksum(tail, castagnoli))) != nil {
				continue
			}
			for _, g := range c.groups {
				_, _ = c.load(g)
			}
		}
	})
}

// The page headers and values of a Parquet file, whose footer is right.
func FuzzChunksFile(f *testing.F) {
	dir, _, files := smallBlock(f)
	b := openBlock(f, dir)
	good, footer := files[ChunksFile], b.meta.Files[ChunksFile].Footer
	f.Add(12, byte(1))
	f.Add(40, byte(255))
	f.Fuzz(func(t *testing.T, at int, x byte) {
		data := slices.Clone(good)
		data[uint(at)%uint(len(data))] ^= x
		_, cols := chunkSchema()
		c := &columns{data: data, cols: cols, fixed: colTimes, pages: 2, cache: NewCache(0)}
		if c.open(footer) != nil {
			return
		}
		fuzzed := &Block{rows: c, index: b.index, cache: c.cache}
		for row := range uint32(4) {
			if _, err := fuzzed.Chunks(nil, row%3, math.MinInt64, math.MaxInt64); err == nil {
				_, _ = fuzzed.Chunk(Row{Num: row})
			}
		}
	})
}
