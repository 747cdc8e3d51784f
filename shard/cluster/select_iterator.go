package cluster

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
)

// oneSeries is a series and its chunks, which do not overlap each other.
type oneSeries struct {
	labels     labels.Labels
	chunks     []chunk.Chunk // in time order
	mint, maxt int64
}

func (s *oneSeries) Labels() labels.Labels { return s.labels }

// Iterator returns an iterator over the samples in the range, which reuses it if it can.
func (s *oneSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	c, ok := it.(*chain)
	if !ok {
		c = &chain{}
	}
	*c = chain{chunks: s.chunks, mint: s.mint, maxt: s.maxt, again: c.again}
	return c
}

// chain iterates over the samples of chunks in [mint, maxt], one chunk after the other.
type chain struct {
	chunks     []chunk.Chunk // that are not opened yet
	mint, maxt int64
	cur        chunkenc.Iterator // of the open chunk; nil before the first and after the last
	start, end int64             // its times
	vt         chunkenc.ValueType
	again      chunkenc.Iterator // to be used again
	err        error
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
	if c.cur != nil {
		c.err = c.cur.Err()
	}
	for c.err == nil && c.advance(t) {
		if c.vt = c.cur.Seek(t); c.vt != chunkenc.ValNone {
			return c.bounded()
		}
		c.err = c.cur.Err()
	}
	return c.finish()
}

// advance opens the next chunk that has a sample at t or later.
func (c *chain) advance(t int64) bool {
	for len(c.chunks) > 0 && c.chunks[0].MaxTime < t {
		c.chunks = c.chunks[1:]
	}
	if len(c.chunks) == 0 || c.chunks[0].MinTime > c.maxt {
		return false
	}
	next := c.chunks[0]
	c.chunks = c.chunks[1:]
	c.start, c.end = next.MinTime, next.MaxTime
	if c.cur, c.err = next.Iterator(c.again); c.err != nil {
		return false
	}
	c.again = c.cur
	return true
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

// hint takes back that there was no reset before the first sample of a chunk: the chunk that it was
// compared with may be another replica's.
func (c *chain) hint(t int64, h histogram.CounterResetHint) histogram.CounterResetHint {
	if t == c.start && h == histogram.NotCounterReset {
		return histogram.UnknownCounterReset
	}
	return h
}
