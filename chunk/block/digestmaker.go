package block

import (
	"context"
	"fmt"
	"math"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// sliceWindows is how many windows the digests of a block are made of at a time: sixteen days, in up to 12 MB.
const sliceWindows = 192

// digestMaker goes through a block from slice to slice of time, since the digests of years may be too many to add them up all at
// once. Where there are no samples there is no slice.
type digestMaker struct {
	b     *Block
	raw   []byte
	sums  [sliceWindows]*[shard.Partitions]series.Digest // by window of the slice
	first int64                                          // window of the slice
	next  int64                                          // the earliest time beyond the slice
	more  bool                                           // there is one

	digester chunk.Digester
	rows     []Row
	read     int // bytes since the last forget
}

func (m *digestMaker) run(ctx context.Context) error {
	m.next, m.more = m.b.meta.MinTime, true
	for m.more {
		m.first, m.more = chunk.Window(m.next), false
		if err := m.slice(ctx); err != nil {
			return err
		}
		for i, sums := range m.sums {
			if sums != nil {
				m.take(m.first+int64(i), sums)
			}
		}
	}
	return nil
}

// take takes over what was added up of a window.
func (m *digestMaker) take(window int64, sums *[shard.Partitions]series.Digest) {
	for p, sum := range sums {
		if !sum.IsZero() {
			m.raw = appendDigest(m.raw, digest{window, uint16(p), sum})
		}
	}
	clear(sums[:])
}

// slice adds up the digests of one slice.
func (m *digestMaker) slice(ctx context.Context) error {
	defer m.b.Forget()
	mint, _ := chunk.WindowBounds(m.first)
	last := min(m.first+sliceWindows-1, chunk.Window(math.MaxInt64))
	_, maxt := chunk.WindowBounds(last)
	for ord := range uint32(m.b.meta.Series) {
		if err := ctx.Err(); err != nil {
			return err
		}
		duty.Rest(ctx)
		if err := m.series(ord, mint, maxt); err != nil {
			return err
		}
	}
	return nil
}

func (m *digestMaker) series(ord uint32, mint, maxt int64) error {
	var err error
	if m.rows, err = m.b.Chunks(m.rows[:0], ord, mint, math.MaxInt64); err != nil || len(m.rows) == 0 {
		return err
	}
	id, err := m.b.ID(ord)
	if err != nil {
		return err
	}
	partition, err := m.b.Partition(ord)
	if err != nil {
		return err
	}
	for _, r := range m.rows {
		if r.MaxTime > maxt && maxt < math.MaxInt64 {
			at := max(r.MinTime, maxt+1)
			if !m.more || at < m.next {
				m.next, m.more = at, true
			}
			if r.MinTime > maxt {
				break
			}
		}
		c, err := m.b.Chunk(r)
		if err != nil {
			return err
		}
		if m.read += len(c.Data) + len(c.Times); m.read > forgetEvery {
			m.read = 0
			m.b.Forget()
		}
		err = m.digester.Chunk(id, c, mint, maxt, func(w int64, sum series.Digest) {
			sums := m.sums[w-m.first]
			if sums == nil {
				sums = new([shard.Partitions]series.Digest)
				m.sums[w-m.first] = sums
			}
			sums[partition] = sums[partition].Plus(sum)
		})
		if err != nil {
			return m.b.corrupt(ChunksFile, fmt.Errorf("row %d: %w", r.Num, err))
		}
	}
	return nil
}

// forgetEvery is how many bytes of chunks are read before their pages are given back.
const forgetEvery = 32 << 20
