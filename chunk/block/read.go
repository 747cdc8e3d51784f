package block

import (
	"fmt"
	"hash/crc32"
	"math"
	"sort"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// Row is a row of chunks.parquet.
type Row struct {
	Num uint32
	chunk.Stats
	Encoding chunk.Encoding
}

// ID returns the id of a series, and the zero id when there is no such series.
func (b *Block) ID(ord uint32) series.ID {
	g, err := b.series.group(ord)
	if err != nil {
		return series.ID{}
	}
	return series.IDFromBytes([16]byte(g.values[serID][16*(ord-g.first):]))
}

// Partition returns the partition of a series.
func (b *Block) Partition(ord uint32) uint16 {
	g, err := b.series.group(ord)
	if err != nil {
		return 0
	}
	return uint16(g.u32(serPartition, ord))
}

// Labels returns the labels of a series, which do not alias the map, and no labels when
// there is no such series. The builder is the caller's scratch.
func (b *Block) Labels(ord uint32, sb *labels.ScratchBuilder) labels.Labels {
	sb.Reset()
	sb.SetUnsafeAdd(true) // the values lie in the map: every form of labels must copy them
	if err := b.index.each(ord, func(name int, value []byte) { sb.Add(b.index.names[name], view(value)) }); err != nil {
		return labels.EmptyLabels()
	}
	ls := sb.Labels()
	sb.Reset()
	return ls
}

// Chunks appends the rows of a series that overlap [mint, maxt], in time order.
func (b *Block) Chunks(dst []Row, ord uint32, mint, maxt int64) ([]Row, error) {
	from, to := b.index.rowsOf(ord)
	var err error
	if to-from > 8 {
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
	var g *rowGroup
	for row := from; row < to && err == nil; row++ {
		if g == nil || row-g.first >= uint32(g.n) {
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

func (g *rowGroup) row(row uint32) Row {
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

// Data returns the bytes of a chunk, whose checksum it verifies. They lie in the map: they are
// not to be written, and live as long as the caller's reference.
func (b *Block) Data(r Row) ([]byte, error) {
	g, err := b.rows.group(r.Num)
	if err != nil {
		return nil, err
	}
	page, off := g.values[colData], uint64(b.index.data(r.Num))
	at := g.spans[colData].end - int64(len(page)) + int64(off)
	if off+4 > uint64(len(page)) {
		return nil, b.rows.corrupt(at, fmt.Errorf("row %d: it lies outside its page", r.Num))
	}
	n := uint64(le32(page[off:]))
	if n > uint64(len(page))-off-4 {
		return nil, b.rows.corrupt(at, fmt.Errorf("row %d, series %d: its data of %d bytes does not fit its page", r.Num, g.u32(colSeries, r.Num), n))
	}
	data := page[off+4 : off+4+n : off+4+n]
	if got, want := crc32.Checksum(data, castagnoli), g.u32(colCRC, r.Num); got != want {
		return nil, b.rows.corrupt(at, fmt.Errorf("row %d, series %d: checksum mismatch: %08x, want %08x", r.Num, g.u32(colSeries, r.Num), got, want))
	}
	return data, nil
}

// Chunk returns a row as a chunk; of its data the same is true as of [Block.Data].
func (b *Block) Chunk(r Row) (chunk.Chunk, error) {
	data, err := b.Data(r)
	return chunk.Chunk{Stats: r.Stats, Encoding: r.Encoding, Data: data}, err
}
