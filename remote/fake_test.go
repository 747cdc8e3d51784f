package remote

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/chunk/series"
)

// memory is a store in a map: it is an Appender that refuses what the real one
// refuses, and a Source of what was appended.
type memory struct {
	mu        sync.Mutex
	series    map[string]*memorySeries // by canonical key
	exemplars []series.Exemplar
	metadata  map[string]series.Metadata
	appends   int

	err     error  // of Append, if set
	block   func() // called by Append and Select, if set
	readErr error  // after the first series of a read, if set
	wrap    func(c chunks.Meta) chunks.Meta
}

type memorySeries struct {
	labels  labels.Labels
	samples map[int64]any // float64 or a histogram, by time
}

func newMemory() *memory {
	return &memory{series: map[string]*memorySeries{}, metadata: map[string]series.Metadata{}}
}

func (m *memory) Append(ctx context.Context, b *series.Batch) error {
	if m.block != nil {
		m.block()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appends++
	if m.err != nil {
		return m.err
	}
	var sb labels.ScratchBuilder
	at := make([]*memorySeries, len(b.Series))
	for i, e := range b.Series {
		if e.Bad {
			continue
		}
		ls, err := series.ParseKey(e.Key, series.Limits{}, &sb)
		if err != nil {
			var le *series.LabelError
			errors.As(err, &le)
			b.Reject(i, le.Reason, err)
			continue
		}
		key := string(series.AppendKey(nil, ls))
		if m.series[key] == nil {
			m.series[key] = &memorySeries{ls, map[int64]any{}}
		}
		at[i] = m.series[key]
		for _, s := range b.Samples[e.First : e.First+e.Count] {
			at[i].samples[s.T] = s.V
		}
	}
	for _, h := range b.Histograms {
		if at[h.Series] == nil {
			continue
		}
		if h.Int != nil {
			at[h.Series].samples[h.T] = h.Int
		} else {
			at[h.Series].samples[h.T] = h.Float
		}
	}
	for _, e := range b.Exemplars {
		if at[e.Series] != nil {
			m.exemplars = append(m.exemplars, e)
		}
	}
	for _, md := range b.Metadata {
		m.metadata[md.Family] = md
	}
	return nil
}

// all is every series, sorted by labels.
func (m *memory) all() []*memorySeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ss []*memorySeries
	for _, s := range m.series {
		ss = append(ss, s)
	}
	slices.SortFunc(ss, func(a, b *memorySeries) int { return labels.Compare(a.labels, b.labels) })
	return ss
}

// memoryQuerier is a querier of both kinds over a memory.
type memoryQuerier struct {
	storage.LabelQuerier
	m          *memory
	mint, maxt int64
}

func (m *memory) Querier(mint, maxt int64) (storage.Querier, error) {
	return memoryQuerier{m: m, mint: mint, maxt: maxt}, nil
}

func (m *memory) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return memoryChunkQuerier{memoryQuerier{m: m, mint: mint, maxt: maxt}}, nil
}

func (q memoryQuerier) Close() error { return nil }

func (q memoryQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	if q.m.block != nil {
		q.m.block()
	}
	var ss []storage.Series
	for _, s := range q.m.all() {
		if !matches(s.labels, ms) {
			continue
		}
		if list := s.list(max(q.mint, hints.Start), min(q.maxt, hints.End)); len(list) > 0 {
			ss = append(ss, storage.NewListSeries(s.labels, list))
		}
	}
	return &listSet{ss: ss, err: q.m.readErr}
}

func matches(ls labels.Labels, ms []*labels.Matcher) bool {
	return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
}

func (s *memorySeries) list(mint, maxt int64) (list []chunks.Sample) {
	for t, v := range s.samples {
		if t < mint || t > maxt {
			continue
		}
		p := point{t: t}
		switch v := v.(type) {
		case float64:
			p.v = v
		case *histogram.Histogram:
			p.h = v
		case *histogram.FloatHistogram:
			p.fh = v
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b chunks.Sample) int { return int(a.T() - b.T()) })
	return list
}

type memoryChunkQuerier struct{ memoryQuerier }

func (q memoryChunkQuerier) Select(ctx context.Context, s bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	set := storage.NewSeriesSetToChunkSet(q.memoryQuerier.Select(ctx, s, hints, ms...))
	if q.m.wrap == nil {
		return set
	}
	return wrappedSet{set, q.m.wrap}
}

// listSet fails with err behind its first series.
type listSet struct {
	ss  []storage.Series
	i   int
	err error
}

func (s *listSet) Next() bool {
	s.i++
	return s.i <= len(s.ss) && (s.err == nil || s.i == 1)
}
func (s *listSet) At() storage.Series { return s.ss[s.i-1] }

func (s *listSet) Err() error {
	if s.i > min(1, len(s.ss)) {
		return s.err
	}
	return nil
}

func (*listSet) Warnings() annotations.Annotations { return nil }

type point struct {
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (p point) ST() int64                     { return 0 }
func (p point) T() int64                      { return p.t }
func (p point) F() float64                    { return p.v }
func (p point) H() *histogram.Histogram       { return p.h }
func (p point) FH() *histogram.FloatHistogram { return p.fh }
func (p point) Copy() chunks.Sample           { return p }
func (p point) Type() chunkenc.ValueType {
	switch {
	case p.h != nil:
		return chunkenc.ValHistogram
	case p.fh != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// wrappedSet changes every chunk of a set.
type wrappedSet struct {
	storage.ChunkSeriesSet
	f func(chunks.Meta) chunks.Meta
}

func (s wrappedSet) At() storage.ChunkSeries { return wrappedSeries{s.ChunkSeriesSet.At(), s.f} }

type wrappedSeries struct {
	storage.ChunkSeries
	f func(chunks.Meta) chunks.Meta
}

func (s wrappedSeries) Iterator(chunks.Iterator) chunks.Iterator {
	return wrappedIterator{s.ChunkSeries.Iterator(nil), s.f}
}

type wrappedIterator struct {
	chunks.Iterator
	f func(chunks.Meta) chunks.Meta
}

func (s wrappedIterator) At() chunks.Meta { return s.f(s.Iterator.At()) }
