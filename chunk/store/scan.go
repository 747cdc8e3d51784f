package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// Selection is what matchers select of a consistent view, with random access by index. It may be used from
// several goroutines. What it hands out lives until Close.
type Selection struct {
	v          *view
	hits       []hit
	mint, maxt int64
}

// Scan returns the series that the matchers select and that may have samples in [mint, maxt]
// (ms, inclusive), in the order of a Querier that does not sort: of those in [shard.Only] partitions, as all that read. The
// caller closes it.
func (s *Store) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (*Selection, error) {
	v := s.view()
	v.coarsen(series.Resolution(ctx))
	hits, err := v.find(ctx, mint, maxt, ms)
	if err != nil {
		v.close()
		return nil, fmt.Errorf("scan: %w", err)
	}
	return &Selection{v, hits, mint, maxt}, nil
}

// Close lets go of the view.
func (s *Selection) Close() { s.v.close() }

// Coarse says whether buckets stand for samples that are no longer kept.
func (s *Selection) Coarse() bool { return s.v.bounds != nil }

// Len is the number of series.
func (s *Selection) Len() int { return len(s.hits) }

// Labels returns the labels of series i. The builder is the caller's scratch.
func (s *Selection) Labels(i int, b *labels.ScratchBuilder) labels.Labels {
	return s.v.labels(&s.hits[i], b)
}

// Err returns an error when labels that were handed out may be wrong, since the index that they are from turned out to be damaged.
func (s *Selection) Err() error { return s.v.err() }

// AppendValues appends the values of some labels of series i to dst, each followed by the byte 0xff, which
// is in no value. A label that the series does not have is empty.
func (s *Selection) AppendValues(dst []byte, i int, names ...string) []byte {
	return s.v.appendValues(dst, &s.hits[i], names...)
}

func (v *view) appendValues(dst []byte, h *hit, names ...string) []byte {
	if h.registry != nil {
		return h.registry.AppendValues(dst, h.ref, names...)
	}
	return h.parts[0].block.AppendValues(dst, h.parts[0].ord, names...)
}

// Chunks appends the chunks of series i that overlap the range to dst, in time order. They do not overlap each
// other: where the stored ones do, they are merged by the rule of package chunk. Chunks come with data where
// need says so of their times, with nil everywhere; those that come without have their statistics instead. Data
// that must be made is appended to buf.
func (s *Selection) Chunks(dst []chunk.Chunk, buf *[]byte, i int, need chunk.Need) ([]chunk.Chunk, error) {
	return s.v.disjoint(dst, buf, &s.hits[i], s.mint, s.maxt, need)
}

// disjoint is chunks with those merged that overlap each other.
func (v *view) disjoint(dst []chunk.Chunk, buf *[]byte, h *hit, mint, maxt int64, need chunk.Need) ([]chunk.Chunk, error) {
	from := len(dst)
	dst, err := v.chunks(dst, buf, h, mint, maxt, need)
	if err != nil || areDisjoint(dst[from:]) {
		return dst, err
	}
	if dst, err = v.settled(dst[:from], buf, h, mint, maxt, need); err != nil {
		v.store.met(err)
		return nil, err
	}
	sortByTime(dst[from:])
	return dst, nil
}

// settled appends the chunks of a series to dst, those of samples merged. Merged samples are in no statistics, so that all are read. This is
// rare: late data that no flush or merge has settled yet. Buckets are not merged: they are numbers only.
func (v *view) settled(dst []chunk.Chunk, buf *[]byte, h *hit, mint, maxt int64, need chunk.Need) ([]chunk.Chunk, error) {
	from := len(dst)
	all, err := v.samples(nil, buf, h, mint, maxt, nil)
	if err != nil {
		return nil, err
	}
	sortByTime(all)
	if dst, err = chunk.Rewrite(dst, all); err != nil {
		return nil, err
	}
	for i := range dst[from:] {
		if c := &dst[from+i]; isFloat(c) && need != nil && !need(c.Serial, c.MinTime, c.MaxTime) {
			// What no merge has touched may lack statistics.
			if c.Stats, err = c.Measure(); err != nil {
				return nil, err
			}
			c.Times, c.Data = nil, nil
		}
	}
	return v.buckets(dst, h.parts, mint, maxt, need)
}

func isFloat(c *chunk.Chunk) bool {
	return c.Encoding != chunk.Histogram && c.Encoding != chunk.FloatHistogram
}

func areDisjoint(cs []chunk.Chunk) bool {
	for i := 1; i < len(cs); i++ {
		if cs[i].MinTime <= cs[i-1].MaxTime {
			return false
		}
	}
	return true
}

// outside says of the times of chunks whether they reach outside a range.
func outside(mint, maxt int64) chunk.Need {
	return func(_ uint64, lo, hi int64) bool { return lo < mint || hi > maxt }
}

// any reports whether a series certainly has a sample in a range, by what is known without reading: false says nothing.
func (v *view) any(h *hit, mint, maxt int64) bool {
	return slices.ContainsFunc(v.tables, func(t *table) bool {
		ref := h.refIn(t)
		return ref != 0 && t.Any(ref, mint, maxt)
	})
}
