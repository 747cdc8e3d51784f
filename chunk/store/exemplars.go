package store

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
	"github.com/minitrue/minitrue/shard"
)

// exemplars are the newest ones.
type exemplars struct {
	mu     sync.Mutex    // guards queue, bytes and newest
	queue  []oneExemplar // from old to new
	bytes  int           // of their labels
	max    int
	newest map[series.ID]exemplar.Exemplar // the last of each series, to know duplicates
}

// exemplarBytes is how many bytes of labels there may be, those of the series for each exemplar. All of them are in memory, and go to the log with
// each flush.
const exemplarBytes = 64 << 20

type oneExemplar struct {
	id        series.ID
	partition uint16
	labels    labels.Labels
	exemplar.Exemplar
}

func (e *oneExemplar) size() int { return int(e.labels.ByteSize() + e.Labels.ByteSize()) }

func newExemplars(n int) *exemplars {
	return &exemplars{max: n, newest: map[series.ID]exemplar.Exemplar{}}
}

func (x *exemplars) add(r *head.Registry, ref head.Ref, e exemplar.Exemplar) {
	if x.max < 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	id := r.ID(ref)
	if last, ok := x.newest[id]; ok && last.Equals(e) {
		return
	}
	var b labels.ScratchBuilder
	one := oneExemplar{id, r.Partition(ref), r.Labels(ref, &b), e}
	x.queue = append(x.queue, one)
	x.bytes += one.size()
	for len(x.queue) > x.max || x.bytes > exemplarBytes && len(x.queue) > 1 {
		x.drop()
	}
	x.newest[id] = e
}

// drop drops the oldest one.
func (x *exemplars) drop() {
	old := &x.queue[0]
	if x.newest[old.id].Equals(old.Exemplar) {
		delete(x.newest, old.id)
	}
	x.bytes -= old.size()
	*old = oneExemplar{}
	x.queue = x.queue[1:]
}

// delete removes the exemplars in [mint, maxt] of the series that the matchers select, and returns how many.
func (x *exemplars) delete(mint, maxt int64, ms []*labels.Matcher) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := len(x.queue)
	x.queue = slices.DeleteFunc(x.queue, func(e oneExemplar) bool {
		return mint <= e.Ts && e.Ts <= maxt && selects(ms, e.labels)
	})
	if len(x.queue) == before {
		return 0
	}
	clear(x.newest)
	x.bytes = 0
	for _, e := range x.queue {
		x.newest[e.id] = e.Exemplar
		x.bytes += e.size()
	}
	return before - len(x.queue)
}

// all returns the exemplars from old to new.
func (x *exemplars) all() []oneExemplar {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.queue)
}

// carry writes what lives longer than a memtable to the log again, so that the part
// behind it can go. The caller holds gate for reading.
func (s *Store) carry() error {
	var rec, key []byte
	var err error
	write := func(typ wal.Type) {
		if len(rec) > 0 && err == nil {
			_, err = s.wal.Append(typ, rec)
		}
		rec = rec[:0]
	}
	s.logMu.Lock()
	defer s.logMu.Unlock()
	for _, m := range s.metadata.all() {
		rec = wal.AppendMetadata(rec, m)
	}
	write(wal.Metadata)
	all := s.exemplars.all()
	refs := make([]head.Ref, len(all))
	for i, e := range all {
		key = series.AppendKey(key[:0], e.labels)
		if err := s.active.registry.Register([][]byte{key}, []series.ID{e.id}, refs[i:i+1], 0); err != nil {
			return err
		}
	}
	if err == nil {
		rec, err = s.logNew(rec, slices.Compact(slices.Sorted(slices.Values(refs))))
		rec = rec[:0]
	}
	for i, e := range all {
		rec = wal.AppendExemplar(rec, uint32(refs[i]), e.Exemplar)
	}
	write(wal.Exemplars)
	return err
}

// ExemplarQuerier returns a querier of the exemplars that are kept.
func (s *Store) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	return exemplarQuerier{s.exemplars, limit(ctx)}, nil
}

type exemplarQuerier struct {
	x    *exemplars
	only *shard.Set // nil: all partitions
}

// Select returns the exemplars in [start, end] (ms) of the series that any of the matcher sets selects.
func (q exemplarQuerier) Select(start, end int64, matchers ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	bySeries := map[series.ID]*exemplar.QueryResult{}
	for _, e := range q.x.all() {
		if q.only != nil && !q.only.Has(e.partition) {
			continue
		}
		if e.Ts < start || e.Ts > end || !slices.ContainsFunc(matchers, func(ms []*labels.Matcher) bool { return selects(ms, e.labels) }) {
			continue
		}
		r := bySeries[e.id]
		if r == nil {
			r = &exemplar.QueryResult{SeriesLabels: e.labels}
			bySeries[e.id] = r
		}
		r.Exemplars = append(r.Exemplars, e.Exemplar)
	}
	out := make([]exemplar.QueryResult, 0, len(bySeries))
	for _, r := range bySeries {
		slices.SortStableFunc(r.Exemplars, func(a, b exemplar.Exemplar) int { return cmp.Compare(a.Ts, b.Ts) })
		r.Exemplars = slices.CompactFunc(r.Exemplars, func(a, b exemplar.Exemplar) bool { return a.Equals(b) })
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b exemplar.QueryResult) int { return labels.Compare(a.SeriesLabels, b.SeriesLabels) })
	return out, nil
}

func selects(ms []*labels.Matcher, ls labels.Labels) bool {
	return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
}
