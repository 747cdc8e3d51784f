package repair

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// memory is a store in maps.
type memory struct {
	mu     sync.Mutex // guards what follows
	series map[series.ID]*entry
	own    *shard.Set
	fail   func() error // asked before each append; nil never fails
}

type entry struct {
	id        series.ID
	key       []byte
	labels    labels.Labels
	partition uint16
	samples   map[int64]float64
}

func newMemory() *memory { return &memory{series: map[series.ID]*entry{}} }

func newEntry(ls labels.Labels) *entry {
	key := series.AppendKey(nil, ls)
	return &entry{series.HashKey(key), key, ls, shard.Partition(ls, "device_id"), map[int64]float64{}}
}

func (m *memory) put(of *entry, t int64, v float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.series[of.id]
	if e == nil {
		e = &entry{of.id, of.key, of.labels, of.partition, map[int64]float64{}}
		m.series[of.id] = e
	}
	if old, ok := e.samples[t]; ok {
		v = chunk.Prefer(old, v)
	}
	e.samples[t] = v
}

func (m *memory) has(of *entry, t int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.series[of.id]
	if e == nil {
		return false
	}
	_, ok := e.samples[t]
	return ok
}

func (m *memory) AppendMissing(_ context.Context, b *series.Batch) error {
	if m.fail != nil {
		if err := m.fail(); err != nil {
			return err
		}
	}
	var sb labels.ScratchBuilder
	var kept []series.Sample
	for _, s := range b.Series {
		ls, err := series.ParseKey(s.Key, series.Limits{}, &sb)
		if err != nil {
			return err
		}
		e := newEntry(ls)
		for _, x := range b.Samples[s.First : s.First+s.Count] {
			if v, ok := m.value(e.id, x.T); ok && math.Float64bits(v) == math.Float64bits(x.V) {
				continue
			}
			m.put(e, x.T, x.V)
			kept = append(kept, x)
		}
	}
	b.Series, b.Samples = nil, kept
	return nil
}

func (m *memory) value(id series.ID, t int64) (float64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.series[id]
	if e == nil {
		return 0, false
	}
	v, ok := e.samples[t]
	return v, ok
}

// within returns the series of some partitions, by ID.
func (m *memory) within(parts *shard.Set) (out []*entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.series {
		if parts == nil || parts.Has(e.partition) {
			e := *e
			e.samples = maps.Clone(e.samples)
			out = append(out, &e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int { return a.id.Compare(b.id) })
	return out
}

func (m *memory) Digests(ctx context.Context, mint, maxt int64) ([]shard.Leaf, error) {
	sums := map[shard.Leaf]series.Digest{}
	for _, e := range m.within(shard.Only(ctx)) {
		for t, v := range e.samples {
			w := shard.Window(t)
			if w <= maxt && end(w) > mint {
				l := shard.Leaf{Partition: e.partition, Window: w}
				sums[l] = sums[l].Plus(series.SampleDigest(e.id, t, v))
			}
		}
	}
	var out []shard.Leaf
	for l, d := range sums {
		l.Digest = d
		out = append(out, l)
	}
	slices.SortFunc(out, shard.Leaf.Compare)
	return out, nil
}

func (m *memory) SeriesDigests(ctx context.Context, window int64) (out []series.SeriesDigest, _ error) {
	for _, e := range m.within(shard.Only(ctx)) {
		d, n := series.Digest{}, 0
		for t, v := range e.samples {
			if shard.Window(t) == window {
				d, n = d.Plus(series.SampleDigest(e.id, t, v)), n+1
			}
		}
		if n > 0 {
			out = append(out, series.SeriesDigest{ID: e.id, Digest: d})
		}
	}
	return out, nil
}

func (m *memory) Own(parts *shard.Set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	own := *parts
	m.own = &own
}

// compact drops what the store need not keep.
func (m *memory) compact() {
	for id, e := range m.series {
		if m.own != nil && !m.own.Has(e.partition) {
			delete(m.series, id)
		}
	}
}

// remove applies a delete.
func (m *memory) remove(id series.ID, mint, maxt int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.series[id]
	if e == nil {
		return
	}
	for t := range e.samples {
		if t >= mint && t <= maxt {
			delete(e.samples, t)
		}
	}
	if len(e.samples) == 0 {
		delete(m.series, id)
	}
}

// read calls each with the samples in a range, in batches of at most size samples.
func (m *memory) read(parts *shard.Set, ids []series.ID, mint, maxt int64, size int, each func(*series.Batch) error) error {
	for _, e := range m.within(parts) {
		if ids != nil && !slices.Contains(ids, e.id) {
			continue
		}
		all := e.between(mint, maxt)
		for part := range slices.Chunk(all, size) {
			b := &series.Batch{Series: []series.Entry{{Key: e.key, Count: len(part)}}, Samples: part}
			if err := each(b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *entry) between(mint, maxt int64) (out []series.Sample) {
	for t, v := range e.samples {
		if t >= mint && t <= maxt {
			out = append(out, series.Sample{T: t, V: v})
		}
	}
	slices.SortFunc(out, func(a, b series.Sample) int { return int(max(-1, min(1, a.T-b.T))) })
	return out
}

func (m *memory) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{m: m, mint: mint, maxt: maxt}, nil
}

type querier struct {
	storage.LabelQuerier
	m          *memory
	mint, maxt int64
}

func (q *querier) Close() error { return nil }

func (q *querier) Select(ctx context.Context, _ bool, _ *storage.SelectHints, _ ...*labels.Matcher) storage.SeriesSet {
	s := &list{at: -1}
	for _, e := range q.m.within(shard.Only(ctx)) {
		if xs := e.between(q.mint, q.maxt); len(xs) > 0 {
			s.series = append(s.series, storage.Series(&selected{e.labels, xs}))
		}
	}
	return s
}

type list struct {
	series []storage.Series
	at     int
}

func (l *list) Next() bool                        { l.at++; return l.at < len(l.series) }
func (l *list) At() storage.Series                { return l.series[l.at] }
func (l *list) Err() error                        { return nil }
func (l *list) Warnings() annotations.Annotations { return nil }

type selected struct {
	ls      labels.Labels
	samples []series.Sample
}

func (s *selected) Labels() labels.Labels { return s.ls }
func (s *selected) Iterator(chunkenc.Iterator) chunkenc.Iterator {
	return &floats{samples: s.samples, at: -1}
}

type floats struct {
	samples []series.Sample
	at      int
}

func (f *floats) Next() chunkenc.ValueType {
	if f.at++; f.at < len(f.samples) {
		return chunkenc.ValFloat
	}
	return chunkenc.ValNone
}
func (f *floats) Seek(int64) chunkenc.ValueType { panic("not needed") }
func (f *floats) At() (int64, float64)          { return f.samples[f.at].T, f.samples[f.at].V }
func (f *floats) AtT() int64                    { return f.samples[f.at].T }
func (f *floats) AtST() int64                   { return 0 }
func (f *floats) Err() error                    { return nil }
func (f *floats) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return math.MinInt64, nil
}
func (f *floats) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return math.MinInt64, nil
}
