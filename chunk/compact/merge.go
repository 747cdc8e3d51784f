package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/shard"
)

// MergeOptions are for Merge. The zero value is usable.
type MergeOptions struct {
	Writer  block.WriterOptions
	Level   int                                               // of the new block; 0 means one more than the greatest of the blocks
	Window  time.Duration                                     // chunks may be as long as this, where samples are rare; 0 means chunk.Span
	Seq     uint64                                            // deletes up to this number are applied by Deleted
	Deleted func(b *block.Block, ord uint32) []chunk.Interval // what is deleted of a series of a block; nil means nothing
	Keep    *shard.Set                                        // series of other partitions are left out; nil means none
	Duty    float64                                           // the part of its time that it works, so that ingest has the rest; 0 means 1

	cycle duty.Cycle // the clock of rests; for tests
}

// forgetEvery is how many bytes are read before their pages are given back: chunks, and of the index of a series about indexed.
const (
	forgetEvery = 8 << 20
	indexed     = 32
)

// Merge writes one block below root with all samples of some, whose references the
// caller holds; the caller removes them when the new one is open. Chunks that overlap are merged by the
// rule of package chunk, all are cut anew to the window, and those that lie right are copied. It holds one
// series at a time. When the context ends it leaves nothing behind.
func Merge(ctx context.Context, blocks []*block.Block, root string, o MergeOptions) (block.Meta, error) {
	if len(blocks) == 0 {
		return block.Meta{}, errors.New("merge blocks: there are none")
	}
	var m merger
	if err := m.begin(ctx, root, o, o.Window.Milliseconds()); err != nil {
		return block.Meta{}, fmt.Errorf("merge blocks: %w", err)
	}
	m.emit = m.merged
	origin := block.Origin{Level: o.Level, Seq: math.MaxUint64, Resolution: blocks[0].Meta().Resolution}
	if origin.Resolution > 0 {
		m.emit, m.resolution = m.joined, origin.Resolution
	}
	for _, b := range blocks {
		meta := b.Meta()
		origin.Parents = append(origin.Parents, meta.ULID)
		origin.Seq = min(origin.Seq, meta.Seq)
		origin.Generation = max(origin.Generation, meta.Generation)
		origin.Covers = JoinCoverage(origin.Covers, meta.Covers)
		if o.Level == 0 {
			origin.Level = max(origin.Level, meta.Level+1)
		}
		m.ins = append(m.ins, input{b: b, n: uint32(meta.Series), mint: math.MinInt64, maxt: math.MaxInt64})
	}
	if o.Deleted != nil {
		origin.Seq = o.Seq
	}
	slices.SortFunc(origin.Parents, ulid.ULID.Compare)
	if err := m.run(ctx); err != nil {
		return block.Meta{}, errors.Join(fmt.Errorf("merge blocks: %w", err), m.w.Abort())
	}
	meta, err := m.w.Commit(origin)
	if err != nil {
		return block.Meta{}, fmt.Errorf("merge blocks: %w", err)
	}
	return meta, nil
}

// input is a block and the series of it that comes next.
type input struct {
	b          *block.Block
	mint, maxt int64 // of the chunks that are wanted
	ord, n     uint32
	labels     labels.Labels
}

type merger struct {
	w    *block.Writer
	emit func(block.Series) error // writes a series, whose chunks are in from

	resolution int64 // of downsampled blocks, ms
	deleted    func(*block.Block, uint32) []chunk.Interval
	keep       *shard.Set

	ins   []input
	sb    labels.ScratchBuilder
	rows  []block.Row
	from  []sourced     // chunks of the current series
	in    []chunk.Chunk // the same, for cut
	cut   chunk.Rewriter
	out   []chunk.Chunk
	read  int // bytes since the last forget
	duty  float64
	cycle duty.Cycle
}

// sourced is a chunk and the number of the input it is from.
type sourced struct {
	chunk.Chunk
	input int
}

// begin begins a block whose chunks are cut to a window (ms).
func (m *merger) begin(ctx context.Context, root string, o MergeOptions, window int64) (err error) {
	m.cut.Window, m.deleted, m.keep = window, o.Deleted, o.Keep
	m.duty, m.cycle = cmp.Or(o.Duty, 1), o.cycle
	o.Writer.Rest = func() { m.cycle.Rest(ctx, m.duty) }
	m.w, err = block.Create(root, o.Writer)
	return err
}

func (m *merger) run(ctx context.Context) error {
	defer m.forget()
	for i := range m.ins {
		m.load(&m.ins[i])
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		least := -1
		for i := range m.ins {
			if in := &m.ins[i]; in.ord < in.n && (least < 0 || labels.Compare(in.labels, m.ins[least].labels) < 0) {
				least = i
			}
		}
		if least < 0 {
			return nil
		}
		if err := m.series(least); err != nil {
			return err
		}
		if m.read > forgetEvery {
			m.forget()
		}
		m.cycle.Rest(ctx, m.duty)
	}
}

func (m *merger) load(in *input) {
	if in.ord < in.n {
		in.labels = in.b.Labels(in.ord, &m.sb)
	}
}

func (m *merger) forget() {
	m.read = 0
	for _, in := range m.ins {
		in.b.Forget()
	}
}

// series writes the series that comes next, which input least has, and moves on.
func (m *merger) series(least int) error {
	in := m.ins[least]
	s := block.Series{Labels: in.labels}
	var err error
	if s.Partition, err = in.b.Partition(in.ord); err != nil {
		return err
	}
	keep := m.keep == nil || m.keep.Has(s.Partition)
	m.from = m.from[:0]
	for i := least; i < len(m.ins); i++ {
		in := &m.ins[i]
		if in.ord == in.n || labels.Compare(in.labels, s.Labels) != 0 {
			continue
		}
		if keep {
			if err := m.collect(i); err != nil {
				return err
			}
		}
		in.ord++
		m.read += indexed
		m.load(in)
	}
	if !keep {
		return nil
	}
	slices.SortStableFunc(m.from, func(a, b sourced) int { return cmp.Compare(a.MinTime, b.MinTime) })
	return m.emit(s)
}

// merged writes a series of samples.
func (m *merger) merged(s block.Series) (err error) {
	m.in = unhinted(m.in[:0], m.from)
	if m.out, err = m.cut.Append(m.out[:0], m.in); err != nil {
		return fmt.Errorf("series %s: %w", s.Labels, err)
	}
	return m.w.Append(s, m.out)
}

// collect takes the chunks of the current series of an input.
func (m *merger) collect(i int) (err error) {
	in := &m.ins[i]
	if m.rows, err = in.b.Chunks(m.rows[:0], in.ord, in.mint, in.maxt); err != nil {
		return err
	}
	var gone []chunk.Interval
	if m.deleted != nil {
		gone = m.deleted(in.b, in.ord)
	}
	for _, r := range m.rows {
		c, err := in.b.Chunk(r)
		if err != nil {
			return err
		}
		m.read += len(c.Data) + len(c.Times)
		if m.out, err = chunk.Without(m.out[:0], c, gone); err != nil {
			return err
		}
		for _, c := range m.out {
			m.from = append(m.from, sourced{c, i})
		}
	}
	return nil
}

// Where a histogram chunk says whether a counter reset lies before it, as chunkenc writes it.
const (
	resetByte  = 2
	resetMask  = 0xc0
	resetGauge = 0xc0 // both bits: it is a gauge, and has no resets
)

// unhinted appends the chunks of a series, sorted by time, to dst. A histogram chunk says whether there was a
// counter reset since the chunk before it; where that chunk is not from the same block any more, it is made to say
// that it does not know.
func unhinted(dst []chunk.Chunk, from []sourced) []chunk.Chunk {
	last, end := -1, int64(math.MinInt64) // the input that the latest sample so far is from; -1 is several
	for i, s := range from {
		c := s.Chunk
		histogram := c.Encoding == chunk.Histogram || c.Encoding == chunk.FloatHistogram
		if i > 0 && last != s.input && histogram && len(c.Data) > resetByte && c.Data[resetByte]&resetMask != resetGauge {
			c.Data = slices.Clone(c.Data)
			c.Data[resetByte] &^= resetMask
		}
		dst = append(dst, c)
		switch {
		case c.MaxTime > end:
			last, end = s.input, c.MaxTime
		case c.MaxTime == end && last != s.input:
			last = -1
		}
	}
	return dst
}
