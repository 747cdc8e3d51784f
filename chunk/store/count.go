package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// countSeries is about how many series are counted at a time: that bounds the memory it takes, and how long something may happen to a
// partition before its digest is known.
const countSeries = 1 << 16

// known returns the digests of some partitions in a window: those that are ready or were counted since the question came, and the others
// after reading. The caller holds ledger.one.
func (s *Store) known(ctx context.Context, window int64, parts *shard.Set, ready *reading, asked uint64) (*digests, error) {
	if ready == nil {
		ready = &reading{}
	}
	missing := *parts
	missing.Minus(&ready.parts)
	s.ledger.recent.since(asked, window, &missing, &ready.digests)
	left := missing.Len()
	if left == 0 {
		return &ready.digests, nil
	}
	sh := s.ledger.open(window)
	v := s.view()
	size := max(1, shard.Partitions*countSeries/max(v.activeSeries(), 1))
	v.close()
	var some shard.Set
	for p := range missing.Partitions() {
		some.Add(p)
		left--
		if some.Len() < size && left > 0 {
			continue
		}
		if err := s.count(ctx, sh, window, &some, &ready.digests); err != nil {
			return nil, err
		}
		some = shard.Set{}
	}
	return &ready.digests, nil
}

// count works out the digests of some partitions in a window by reading, and puts them into a sheet.
func (s *Store) count(ctx context.Context, sh *sheet, window int64, parts *shard.Set, into *digests) error {
	began := s.ledger.recent.clock.Add(1) // before the view is made
	s.ledger.begin(sh, parts)
	c := counter{s: s, v: s.view(), window: window, parts: parts}
	defer c.v.close()
	c.mint, c.maxt = chunk.WindowBounds(window)
	if err := c.run(ctx); err != nil {
		return err
	}
	s.m.counted.Add(float64(parts.Len()))
	if !c.stale {
		sh.end(parts, &c.counted, &c.sums)
	}
	s.ledger.recent.keep(window, parts, began, &c.counted)
	for p := range parts.Partitions() {
		*into.at(p) = c.counted.of(p)
	}
	return nil
}

// counter works out the digests of partitions in a window. What blocks know of it adds up, but for series of which samples lie in several
// places at once, or were deleted from: only these are read from blocks.
type counter struct {
	s          *Store
	v          *view
	window     int64
	mint, maxt int64 // of the window
	parts      *shard.Set

	counted digests
	sums    digests // that the accounts of the series had at the moment when they were read
	stale   bool    // the view's first memtable is not appended to any more: sums are not all there

	digester chunk.Digester
	rows     []block.Row
	chunks   []chunk.Chunk
	spans    []chunk.Interval
	buf      []byte
}

func (c *counter) run(ctx context.Context) error {
	hits, err := c.hits(ctx)
	if err != nil {
		return err
	}
	for i := range hits {
		duty.Rest(ctx)
		if i%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.series(&hits[i].hit, hits[i].partition); err != nil {
			return err
		}
	}
	return nil
}

// series counts a series.
func (c *counter) series(h *hit, partition uint16) error {
	sum := c.counted.at(partition)
	memory, err := c.memory(h, partition)
	if err != nil {
		return err
	}
	apart, err := c.apart(h, memory)
	if err != nil {
		return err
	}
	if !apart {
		if memory, err = c.all(memory, h, sum); err != nil {
			return err
		}
	}
	sortByTime(memory)
	if !areDisjoint(memory) {
		if memory, err = chunk.Rewrite(nil, memory); err != nil {
			return fmt.Errorf("series %s: %w", h.id, err)
		}
	}
	for _, ch := range memory {
		if err := c.add(h.id, ch, func(d series.Digest) { *sum = sum.Plus(d) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) add(id series.ID, ch chunk.Chunk, add func(series.Digest)) error {
	err := c.digester.Chunk(id, ch, c.mint, c.maxt, func(_ int64, d series.Digest) { add(d) })
	if err != nil {
		return fmt.Errorf("series %s: %w", id, err)
	}
	return nil
}

// memory returns the chunks of a series that are in memory, and notes the sum of its account.
func (c *counter) memory(h *hit, partition uint16) (chunks []chunk.Chunk, err error) {
	c.chunks, c.buf = c.chunks[:0], c.buf[:0]
	for i, t := range c.v.tables {
		ref := h.refIn(t)
		switch {
		case ref == 0:
		case i == 0:
			err = c.active(t, ref, partition)
		default:
			c.chunks, err = t.Scan(c.chunks, &c.buf, ref, c.mint, c.maxt, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return c.chunks, nil
}

// active is memory for the first memtable of the view.
func (c *counter) active(t *table, ref head.Ref, partition uint16) (err error) {
	c.s.gate.RLock()
	defer c.s.gate.RUnlock()
	if c.s.active != t {
		c.stale = true
		c.chunks, err = t.Scan(c.chunks, &c.buf, ref, c.mint, c.maxt, nil)
		return err
	}
	var sum series.Digest
	c.chunks, sum, err = t.ScanSum(c.chunks, &c.buf, ref, c.window)
	c.sums.add(partition, sum)
	return err
}

// apart reports whether the samples of a series in the window are what blocks have, whole, and what is in memory, and none of it is twice.
func (c *counter) apart(h *hit, memory []chunk.Chunk) (bool, error) {
	c.spans = c.spans[:0]
	if len(memory) > 0 {
		s := chunk.Interval{Min: memory[0].MinTime, Max: memory[0].MaxTime}
		for _, ch := range memory[1:] {
			s.Min, s.Max = min(s.Min, ch.MinTime), max(s.Max, ch.MaxTime)
		}
		c.spans = append(c.spans, s)
	}
	for _, p := range h.parts {
		if touched(c.v.deleted(p), c.mint, c.maxt) {
			return false, nil
		}
		if len(h.parts) == 1 && len(memory) == 0 {
			return true, nil
		}
		var err error
		if c.rows, err = p.block.Chunks(c.rows[:0], p.ord, c.mint, c.maxt); err != nil {
			return false, err
		}
		if n := len(c.rows); n > 0 {
			c.spans = append(c.spans, chunk.Interval{Min: max(c.rows[0].MinTime, c.mint), Max: min(c.rows[n-1].MaxTime, c.maxt)})
		}
	}
	slices.SortFunc(c.spans, func(a, b chunk.Interval) int { return cmp.Compare(a.Min, b.Min) })
	for i := 1; i < len(c.spans); i++ {
		if c.spans[i].Min <= c.spans[i-1].Max {
			return false, nil
		}
	}
	return true, nil
}

// all appends what a query reads of a series in blocks to chunks, and takes off sum what the blocks have counted of it.
func (c *counter) all(chunks []chunk.Chunk, h *hit, sum *series.Digest) (_ []chunk.Chunk, err error) {
	for _, p := range h.parts {
		if c.rows, err = p.block.Chunks(c.rows[:0], p.ord, c.mint, c.maxt); err != nil {
			return nil, err
		}
		gone := c.v.deleted(p)
		for _, r := range c.rows {
			ch, err := p.block.Chunk(r)
			if err != nil {
				return nil, err
			}
			if err := c.add(h.id, ch, func(d series.Digest) { *sum = sum.Minus(d) }); err != nil {
				return nil, err
			}
			if chunks, err = chunk.Without(chunks, ch, gone); err != nil {
				return nil, err
			}
		}
	}
	return chunks, nil
}
