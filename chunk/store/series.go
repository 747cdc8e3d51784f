package store

import (
	"context"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/chunk"
)

type sampleQuerier struct{ querier }

// Select returns the series that the matchers select, with their samples in the
// querier's range, narrowed by the hints.
func (q *sampleQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	s, err := q.entries(ctx, sorted, hints, ms)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	s.only = hints != nil && hints.Func == "series"
	return s
}

// seriesSet passes over series that turn out to have no sample in the range.
type seriesSet struct {
	v          *view
	es         []entry
	mint, maxt int64
	i          int
	only       bool // only labels are wanted
	cur        oneSeries
	err        error
}

func (s *seriesSet) Next() bool {
	for s.i++; s.i < len(s.es) && s.err == nil; s.i++ {
		e := &s.es[s.i]
		if s.only && s.v.any(&e.hit, s.mint, s.maxt) {
			s.cur = oneSeries{labels: e.labels}
			return true
		}
		var need chunk.Need
		if s.only {
			need = chunk.NeedNone
		}
		var buf []byte
		cs, err := s.v.chunks(nil, &buf, &e.hit, s.mint, s.maxt, need)
		if err != nil {
			s.err = err
			return false
		}
		if len(cs) > 0 {
			s.cur = oneSeries{e.labels, cs, s.mint, s.maxt}
			return true
		}
	}
	return false
}

func (s *seriesSet) At() storage.Series {
	one := s.cur
	return &one
}

func (s *seriesSet) Err() error                        { return s.err }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// oneSeries is a series and its chunks in the range.
type oneSeries struct {
	labels     labels.Labels
	chunks     []chunk.Chunk // by MinTime
	mint, maxt int64
}

func (s *oneSeries) Labels() labels.Labels { return s.labels }

// Iterator returns an iterator over the samples in the range, which reuses it if it can.
func (s *oneSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	c, ok := it.(*chain)
	if !ok {
		c = &chain{}
	}
	c.reset(s.chunks, s.mint, s.maxt)
	return c
}

// chain iterates over the samples of chunks in [mint, maxt]: one chunk after the
// other, and those that overlap each other merged.
type chain struct {
	chunks     []chunk.Chunk // that are not opened yet
	mint, maxt int64
	cur        chunkenc.Iterator // of the open chunk or chunks; nil before the first and after the last
	start, end int64             // the first and the last time in them
	vt         chunkenc.ValueType
	again      chunkenc.Iterator // to be used again
	err        error
}

func (c *chain) reset(cs []chunk.Chunk, mint, maxt int64) {
	*c = chain{chunks: cs, mint: mint, maxt: maxt, again: c.again}
}

// advance opens the next chunk that has a sample at t or later, with all that overlap it.
func (c *chain) advance(t int64) bool {
	c.cur = nil
	for len(c.chunks) > 0 && c.chunks[0].MaxTime < t {
		c.chunks = c.chunks[1:]
	}
	if len(c.chunks) == 0 || c.chunks[0].MinTime > c.maxt {
		return false
	}
	n := 1
	for c.end = c.chunks[0].MaxTime; n < len(c.chunks) && c.chunks[n].MinTime <= c.end; n++ {
		c.end = max(c.end, c.chunks[n].MaxTime)
	}
	group := c.chunks[:n]
	c.chunks = c.chunks[n:]
	c.start = group[0].MinTime
	if n > 1 {
		its := make([]chunkenc.Iterator, n)
		for i, ch := range group {
			if its[i] = c.open(ch, nil); c.err != nil {
				return false
			}
		}
		c.cur = chunk.Merge(its...)
		return true
	}
	c.cur = c.open(group[0], c.again)
	if c.err == nil {
		c.again = c.cur
	}
	return c.err == nil
}

func (c *chain) open(ch chunk.Chunk, again chunkenc.Iterator) chunkenc.Iterator {
	it, err := ch.Iterator(again)
	c.err = err
	return it
}

func (c *chain) Next() chunkenc.ValueType {
	if c.vt == chunkenc.ValNone {
		return c.Seek(c.mint)
	}
	if c.vt = c.cur.Next(); c.vt == chunkenc.ValNone {
		return c.onward(c.mint)
	}
	return c.bounded()
}

// Seek after the end finds nothing: there are no chunks left.
func (c *chain) Seek(t int64) chunkenc.ValueType {
	t = max(t, c.mint)
	if c.vt != chunkenc.ValNone && c.cur.AtT() >= t {
		return c.vt
	}
	if c.cur == nil || c.end < t {
		return c.onward(t)
	}
	if c.vt = c.cur.Seek(t); c.vt == chunkenc.ValNone {
		return c.onward(t)
	}
	return c.bounded()
}

// onward goes on with the chunks that are not opened yet.
func (c *chain) onward(t int64) chunkenc.ValueType {
	for c.err == nil {
		if c.cur != nil {
			if c.err = c.cur.Err(); c.err != nil {
				break
			}
		}
		if !c.advance(t) {
			break
		}
		if c.vt = c.cur.Seek(t); c.vt != chunkenc.ValNone {
			return c.bounded()
		}
	}
	return c.finish()
}

// bounded ends the iteration behind maxt.
func (c *chain) bounded() chunkenc.ValueType {
	if c.cur.AtT() > c.maxt {
		return c.finish()
	}
	return c.vt
}

func (c *chain) finish() chunkenc.ValueType {
	c.cur, c.chunks, c.vt = nil, nil, chunkenc.ValNone
	return chunkenc.ValNone
}

func (c *chain) At() (int64, float64) { return c.cur.At() }
func (c *chain) AtT() int64           { return c.cur.AtT() }
func (c *chain) AtST() int64          { return 0 }
func (c *chain) Err() error           { return c.err }

func (c *chain) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	t, h := c.cur.AtHistogram(h)
	h.CounterResetHint = c.hint(t, h.CounterResetHint)
	return t, h
}

func (c *chain) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	t, h := c.cur.AtFloatHistogram(h)
	h.CounterResetHint = c.hint(t, h.CounterResetHint)
	return t, h
}

// hint takes back that there was no reset before the first sample of a chunk: the
// chunk that it was compared with may not be the one before it any more.
func (c *chain) hint(t int64, h histogram.CounterResetHint) histogram.CounterResetHint {
	if t == c.start && h == histogram.NotCounterReset {
		return histogram.UnknownCounterReset
	}
	return h
}

type chunkQuerier struct{ querier }

// Select returns the series that the matchers select, with whole chunks that
// overlap the range. They do not overlap each other.
func (q *chunkQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	s, err := q.entries(ctx, sorted, nil, ms)
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	if hints != nil {
		s.mint, s.maxt = max(s.mint, hints.Start), min(s.maxt, hints.End)
	}
	return &chunkSet{*s}
}

type chunkSet struct{ seriesSet }

func (s *chunkSet) At() storage.ChunkSeries { return &oneChunkSeries{s.cur.labels, s.cur.chunks} }

type oneChunkSeries struct {
	labels labels.Labels
	chunks []chunk.Chunk
}

func (s *oneChunkSeries) Labels() labels.Labels { return s.labels }

func (s *oneChunkSeries) Iterator(chunks.Iterator) chunks.Iterator {
	cs, err := chunk.Rewrite(nil, s.chunks)
	return &chunkIterator{chunks: cs, i: -1, err: err}
}

type chunkIterator struct {
	chunks []chunk.Chunk
	i      int
	cur    chunks.Meta
	err    error
}

func (it *chunkIterator) Next() bool {
	if it.i++; it.err != nil || it.i >= len(it.chunks) {
		return false
	}
	c := it.chunks[it.i]
	d, err := c.Decode()
	if err != nil {
		it.err = err
		return false
	}
	it.cur = chunks.Meta{Chunk: d, MinTime: c.MinTime, MaxTime: c.MaxTime}
	return true
}

func (it *chunkIterator) At() chunks.Meta { return it.cur }
func (it *chunkIterator) Err() error      { return it.err }
