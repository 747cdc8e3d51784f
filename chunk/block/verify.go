package block

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
)

// sumTolerance is how far a stored sum or increase may be from that of the samples, relative to
// what was added up: statistics may have been added in another order.
const sumTolerance = 1e-9

// Verify reads the whole block and checks every checksum, the order of series, rows and times, and
// the statistics of every chunk against its samples. An error is a [*CorruptError].
func (b *Block) Verify() error {
	defer b.forget()
	for _, c := range []*columns{b.series, b.rows} {
		if err := b.verifyFile(c); err != nil {
			return err
		}
	}
	want, err := b.rebuildIndex()
	if err != nil {
		return err
	}
	x, err := openIndex(want, b.meta.ULID, b.meta.Series, b.meta.Chunks, &b.cache.age)
	if err != nil {
		return b.corrupt(IndexFile, err)
	}
	for i := range x.sec {
		if !bytes.Equal(x.sec[i], b.index.sec[i]) {
			return b.corrupt(IndexFile, fmt.Errorf("section %d is not what the Parquet files say", i))
		}
	}
	return b.verifySeries()
}

func (b *Block) verifySeries() error {
	var sb labels.ScratchBuilder
	var prev labels.Labels
	var rows []Row
	total := Meta{MinTime: math.MaxInt64, MaxTime: math.MinInt64}
	for ord := range uint32(b.meta.Series) {
		ls := b.Labels(ord, &sb)
		if ord > 0 && labels.Compare(prev, ls) >= 0 {
			return b.corrupt(SeriesFile, fmt.Errorf("series %d, %s, does not come after the one before it", ord, ls))
		}
		prev = ls
		g, err := b.series.group(ord)
		if err != nil {
			return err
		}
		if g.u32(serOrdinal, ord) != ord {
			return b.corrupt(SeriesFile, fmt.Errorf("series %d, %s, has the ordinal of another", ord, ls))
		}
		if rows, err = b.Chunks(rows[:0], ord, math.MinInt64, math.MaxInt64); err != nil {
			return err
		}
		for i, r := range rows {
			if r.MinTime > r.MaxTime || i > 0 && r.MinTime <= rows[i-1].MaxTime {
				return b.corrupt(ChunksFile, fmt.Errorf("row %d, series %d: its time is out of order", r.Num, ord))
			}
			if err := b.verifyRow(r); err != nil {
				return err
			}
			total.Chunks++
			total.Samples += r.Samples
			total.MinTime, total.MaxTime = min(total.MinTime, r.MinTime), max(total.MaxTime, r.MaxTime)
		}
	}
	m := b.meta
	if total.Chunks != m.Chunks || total.Samples != m.Samples || total.MinTime != m.MinTime || total.MaxTime != m.MaxTime {
		return b.corrupt(MetaFile, fmt.Errorf("it says %d chunks, %d samples, %d to %d; there are %d, %d, %d to %d",
			m.Chunks, m.Samples, m.MinTime, m.MaxTime, total.Chunks, total.Samples, total.MinTime, total.MaxTime))
	}
	return nil
}

// verifyRow decodes a chunk and compares its statistics. Of an encoding that this
// version does not know the checksum is all that it can verify.
func (b *Block) verifyRow(r Row) (err error) {
	defer func() {
		if p := recover(); p != nil { // chunkenc trusts the bytes of histograms
			err = b.corrupt(ChunksFile, fmt.Errorf("row %d: decode chunk: %v", r.Num, p))
		}
	}()
	c, err := b.Chunk(r)
	if err != nil {
		return err
	}
	got, err := c.Measure()
	if err != nil {
		return b.corrupt(ChunksFile, fmt.Errorf("row %d: %w", r.Num, err))
	}
	if err := sameStats(got, r.Stats); err != nil {
		return b.corrupt(ChunksFile, fmt.Errorf("row %d: %w: %+v, want %+v", r.Num, err, r.Stats, got))
	}
	return nil
}

func sameStats(got, want chunk.Stats) error {
	if got.MinTime != want.MinTime || got.MaxTime != want.MaxTime || got.Samples != want.Samples || got.Stale != want.Stale {
		return errors.New("its times or counts are not those of its samples")
	}
	if got.Count() == 0 {
		return nil
	}
	exact := [][2]float64{{got.Min, want.Min}, {got.Max, want.Max}, {got.First, want.First}, {got.Last, want.Last}}
	for _, p := range exact {
		if p[0] != p[1] && !(math.IsNaN(p[0]) && math.IsNaN(p[1])) {
			return errors.New("its statistics are not those of its samples")
		}
	}
	scale := max(math.Abs(got.Min), math.Abs(got.Max)) * float64(got.Samples)
	for _, p := range [][2]float64{{got.Total(), want.Total()}, {got.Increase, want.Increase}} {
		same := p[0] == p[1] || math.IsNaN(p[0]) && math.IsNaN(p[1]) || math.Abs(p[0]-p[1]) <= sumTolerance*scale
		if !same && !math.IsInf(scale, 0) {
			return errors.New("its sum or increase is not that of its samples")
		}
	}
	return nil
}
