package cluster

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// querier implements storage.LabelQuerier over the cluster.
type querier struct {
	r          *Reader
	mint, maxt int64
	open       []Selection // that series are read from
}

// Querier returns a querier of the samples of the cluster in [mint, maxt] (ms, inclusive).
func (r *Reader) Querier(mint, maxt int64) (storage.Querier, error) {
	if r.members.View().Alone() {
		return r.local.Querier(mint, maxt)
	}
	return &sampleQuerier{querier{r: r, mint: mint, maxt: maxt}}, nil
}

// ChunkQuerier returns a querier of the chunks of the cluster that overlap [mint, maxt] (ms, inclusive).
func (r *Reader) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	if r.members.View().Alone() {
		return r.local.ChunkQuerier(mint, maxt)
	}
	return &chunkQuerier{querier{r: r, mint: mint, maxt: maxt}}, nil
}

// Close lets go of what the querier has found. Its series must not be read any more.
func (q *querier) Close() error {
	for _, s := range q.open {
		s.Close()
	}
	q.open = nil
	return nil
}

type sampleQuerier struct{ querier }

// Select returns the series that the matchers select, with their samples in the querier's range, narrowed by the hints.
func (q *sampleQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	pick := lastOf
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
		if hints.Func == "series" {
			return q.names(ctx, sorted, mint, maxt, hints, ms)
		}
		var allowed int64
		if allowed, pick = coarseness(hints); pick == nil {
			ctx = series.AllowResolution(ctx, 0)
		} else {
			ctx = series.AllowResolution(ctx, max(series.Resolution(ctx), allowed))
		}
	} else {
		ctx = series.AllowResolution(ctx, 0)
	}
	s, err := q.sel(ctx, sorted, mint, maxt, ms)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	return &seriesSet{selected: *s, mint: mint, maxt: maxt, pick: pick}
}

// names answers who wants to know of series and not of samples.
func (q *sampleQuerier) names(ctx context.Context, sorted bool, mint, maxt int64, hints *storage.SelectHints, ms []*labels.Matcher) storage.SeriesSet {
	if mint > maxt {
		return storage.EmptySeriesSet()
	}
	limit := 0
	if !sorted {
		limit = hints.Limit
	}
	keys, warning, err := q.r.seriesNames(ctx, mint, maxt, limit, ms)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	s := &nameSet{all: make([]labels.Labels, len(keys)), i: -1, notes: noted(warning)}
	var b labels.ScratchBuilder
	for i, key := range keys {
		s.all[i] = labelsOf(key, &b)
	}
	if sorted {
		slices.SortFunc(s.all, labels.Compare)
	}
	return s
}

// labelsOf are the labels of a key that was checked.
func labelsOf(key []byte, b *labels.ScratchBuilder) labels.Labels {
	b.Reset()
	_ = series.EachLabel(key, func(name, value string) { b.Add(name, value) })
	return b.Labels()
}

// nameSet is series without samples.
type nameSet struct {
	all   []labels.Labels
	i     int
	notes annotations.Annotations
}

func (s *nameSet) Next() bool                        { s.i++; return s.i < len(s.all) }
func (s *nameSet) At() storage.Series                { return &oneSeries{labels: s.all[s.i]} }
func (s *nameSet) Err() error                        { return nil }
func (s *nameSet) Warnings() annotations.Annotations { return s.notes }

// selected is a selection that is read one series after the other.
type selected struct {
	sel    Selection // nil: nothing was selected
	order  []int     // of its series; nil: theirs
	at     int       // how many were read
	labels labels.Labels
	chunks []chunk.Chunk // of the series at hand
	notes  annotations.Annotations
	b      labels.ScratchBuilder
	err    error
}

// sel selects series, which stay until the querier is closed.
func (q *querier) sel(ctx context.Context, sorted bool, mint, maxt int64, ms []*labels.Matcher) (*selected, error) {
	if mint > maxt {
		return &selected{}, nil
	}
	sel, warning, err := q.r.scan(ctx, mint, maxt, ms)
	if err != nil {
		return nil, err
	}
	q.open = append(q.open, sel)
	s := &selected{sel: sel, notes: noted(warning)}
	if sorted {
		all := make([]labels.Labels, sel.Len())
		s.order = make([]int, sel.Len())
		for i := range all {
			all[i], s.order[i] = sel.Labels(i, &s.b), i
		}
		slices.SortFunc(s.order, func(a, b int) int { return labels.Compare(all[a], all[b]) })
	}
	return s, sel.Err()
}

// next reads the next series that has chunks, as read does it.
func (s *selected) next(read func(i int) ([]chunk.Chunk, error)) bool {
	for s.sel != nil && s.err == nil && s.at < s.sel.Len() {
		i := s.at
		if s.order != nil {
			i = s.order[i]
		}
		s.at++
		if s.chunks, s.err = read(i); s.err == nil && len(s.chunks) > 0 {
			s.labels = s.sel.Labels(i, &s.b)
			s.err = s.sel.Err()
			return s.err == nil
		}
	}
	return false
}

func (s *selected) Err() error                        { return s.err }
func (s *selected) Warnings() annotations.Annotations { return s.notes }

// seriesSet passes over series that have nothing in the range.
type seriesSet struct {
	selected
	mint, maxt int64
	pick       func(chunk.Stats) float64 // what stands for the samples of a bucket
}

func (s *seriesSet) Next() bool {
	return s.next(func(i int) ([]chunk.Chunk, error) {
		var buf []byte
		if !s.sel.Coarse() {
			return s.sel.Chunks(nil, &buf, i, nil)
		}
		cs, err := coarseChunks(nil, s.sel, i, &buf)
		for j := range cs {
			if b := cs[j].Stats; !isSamples(cs[j]) && err == nil {
				var one []chunk.Chunk
				one, err = chunk.Encode(nil, chunk.Slice([]series.Sample{{T: b.MaxTime, V: s.pick(b)}}))
				cs[j] = one[0]
			}
		}
		return cs, err
	})
}

func (s *seriesSet) At() storage.Series { return &oneSeries{s.labels, s.chunks, s.mint, s.maxt} }

// lastOf is the number that stands for a bucket unless the question says otherwise.
func lastOf(s chunk.Stats) float64 { return s.Last }

// coarseness is how long buckets may be that stand for samples in a query of Prometheus's engine, which knows samples only, and which number
// of a bucket does; nil when none does. It is what the store does for one node.
func coarseness(h *storage.SelectHints) (allowed int64, pick func(chunk.Stats) float64) {
	if h.Range == 0 {
		return h.Step, lastOf
	}
	allowed = h.Range
	if h.Step > 0 {
		allowed = min(allowed, h.Step)
	}
	switch h.Func {
	case "last_over_time", "present_over_time":
		return allowed, lastOf
	case "min_over_time":
		return allowed, func(s chunk.Stats) float64 { return s.Min }
	case "max_over_time":
		return allowed, func(s chunk.Stats) float64 { return s.Max }
	case "sum_over_time":
		return allowed, func(s chunk.Stats) float64 { return s.Total() }
	}
	return 0, nil
}

type chunkQuerier struct{ querier }

// Select returns the series that the matchers select, with whole chunks that overlap the range. They do not overlap each other.
func (q *chunkQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	s, err := q.sel(series.AllowResolution(ctx, 0), sorted, mint, maxt, ms)
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	return &chunkSet{*s}
}

type chunkSet struct{ selected }

func (s *chunkSet) Next() bool {
	return s.next(func(i int) ([]chunk.Chunk, error) {
		var buf []byte
		return s.sel.Chunks(nil, &buf, i, nil)
	})
}

func (s *chunkSet) At() storage.ChunkSeries { return &oneChunkSeries{s.labels, s.chunks} }

type oneChunkSeries struct {
	labels labels.Labels
	chunks []chunk.Chunk
}

func (s *oneChunkSeries) Labels() labels.Labels { return s.labels }

func (s *oneChunkSeries) Iterator(chunks.Iterator) chunks.Iterator {
	return &chunkIterator{chunks: s.chunks}
}

type chunkIterator struct {
	chunks []chunk.Chunk
	cur    chunks.Meta
	err    error
}

func (it *chunkIterator) Next() bool {
	if it.err != nil || len(it.chunks) == 0 {
		return false
	}
	c := it.chunks[0]
	it.chunks = it.chunks[1:]
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
