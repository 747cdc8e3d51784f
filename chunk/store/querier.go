package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// hit is a series that matchers select, and where its samples may be.
type hit struct {
	id       series.ID
	registry *head.Registry // the newest in memory that knows it; nil: none
	ref      head.Ref       // in this registry
	parts    []part         // in blocks
}

// refIn returns the ref by which a memtable knows the series, 0 if it does not.
func (h *hit) refIn(t *table) head.Ref {
	if h.registry == nil || h.registry == t.registry {
		return h.ref
	}
	return t.registry.Ref(h.id)
}

type part struct {
	block *block.Block
	ord   uint32
}

// find returns the series that the matchers select and that have samples in
// [mint, maxt], or near it, in no order.
func (v *view) find(ctx context.Context, mint, maxt int64, ms []*labels.Matcher) ([]hit, error) {
	hits, err := v.look(ctx, mint, maxt, ms)
	v.store.met(err)
	return hits, err
}

func (v *view) look(ctx context.Context, mint, maxt int64, ms []*labels.Matcher) ([]hit, error) {
	only := limit(ctx)
	var hits []hit
	if v.inMemory(mint, maxt) {
		hits = v.findInMemory(only, ms)
	}
	var byID map[series.ID]int // made when a second source turns up
	for _, b := range v.blocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if m := b.Meta(); m.MinTime > maxt || m.MaxTime < mint {
			continue
		}
		ords, err := b.Postings(ms...)
		if err == nil && only != nil {
			ords, err = b.Within(ords, only)
		}
		if err != nil {
			return nil, err
		}
		if byID == nil && len(hits) > 0 && len(ords) > 0 {
			byID = make(map[series.ID]int, max(len(hits), len(ords)))
			for i := range hits {
				byID[hits[i].id] = i
			}
		}
		hits = slices.Grow(hits, len(ords))
		parts := make([]part, len(ords)) // of each of them the first
		for k, ord := range ords {
			id, err := b.ID(ord)
			if err != nil {
				return nil, err
			}
			if i, ok := byID[id]; ok {
				hits[i].parts = append(hits[i].parts, part{b, ord})
				continue
			}
			if byID != nil {
				byID[id] = len(hits)
			}
			parts[k] = part{b, ord}
			hits = append(hits, hit{id: id, parts: parts[k : k+1 : k+1]})
		}
	}
	return hits, nil
}

// limit returns the partitions that a reader is limited to, nil if it is not.
func limit(ctx context.Context) *shard.Set {
	only := shard.Only(ctx)
	if only != nil && only.Len() == shard.Partitions {
		return nil
	}
	return only
}

// findInMemory returns the series that the matchers select and that have samples in a memtable, of some partitions if only is
// not nil.
func (v *view) findInMemory(only *shard.Set, ms []*labels.Matcher) (hits []hit) {
	var seen map[series.ID]bool // made when there is a second registry
	for i, r := range v.registries {
		if i == 1 {
			seen = make(map[series.ID]bool, len(hits))
			for j := range hits {
				seen[hits[j].id] = true
			}
		}
		for _, ref := range r.SelectWithin(only, ms...) {
			id := r.ID(ref)
			if seen[id] || !slices.ContainsFunc(v.tables, func(t *table) bool { return t.registry == r && t.Has(ref) }) {
				continue
			}
			if seen != nil {
				seen[id] = true
			}
			hits = append(hits, hit{id: id, registry: r, ref: ref})
		}
	}
	return hits
}

func (v *view) inMemory(mint, maxt int64) bool {
	return slices.ContainsFunc(v.tables, func(t *table) bool {
		lo, hi := t.Bounds()
		return lo <= maxt && hi >= mint
	})
}

func (v *view) labels(h *hit, b *labels.ScratchBuilder) labels.Labels {
	if h.registry != nil {
		return h.registry.Labels(h.ref, b)
	}
	return h.parts[0].block.Labels(h.parts[0].ord, b)
}

// err returns an error when labels that were read may be wrong.
func (v *view) err() error {
	for _, b := range v.blocks {
		if err := b.Err(); err != nil {
			v.store.met(err)
			return err
		}
	}
	return nil
}

// chunks appends the chunks of a series that overlap [mint, maxt] to dst, by MinTime. Data
// of blocks lives as long as the view. Chunks come with data where need says so of their
// times, with nil everywhere; those that come without have their statistics instead. Data
// of memory is appended to buf.
func (v *view) chunks(dst []chunk.Chunk, buf *[]byte, h *hit, mint, maxt int64, need chunk.Need) ([]chunk.Chunk, error) {
	dst, err := v.read(dst, buf, h, mint, maxt, need)
	if err != nil {
		v.store.met(err)
	}
	return dst, err
}

func (v *view) read(dst []chunk.Chunk, buf *[]byte, h *hit, mint, maxt int64, need chunk.Need) ([]chunk.Chunk, error) {
	from := len(dst)
	dst, err := v.samples(dst, buf, h, mint, maxt, need)
	if err == nil {
		dst, err = v.buckets(dst, h.parts, mint, maxt, need)
	}
	if err != nil {
		return nil, err
	}
	sortByTime(dst[from:])
	return dst, nil
}

// samples is read without buckets, in no order.
func (v *view) samples(dst []chunk.Chunk, buf *[]byte, h *hit, mint, maxt int64, need chunk.Need) ([]chunk.Chunk, error) {
	var err error
	from := len(dst)
	var few [4]block.Row
	rows := few[:0]
	for _, p := range h.parts {
		if _, coarse := v.bounds[p.block]; coarse {
			continue
		}
		if rows, err = p.block.Chunks(rows[:0], p.ord, mint, maxt); err != nil {
			return nil, err
		}
		gone := v.deleted(p)
		for _, r := range rows {
			if touched(gone, r.MinTime, r.MaxTime) {
				if dst, err = appendLeft(dst, p.block, r, gone); err != nil {
					return nil, err
				}
				continue
			}
			c := chunk.Chunk{Stats: r.Stats, Encoding: r.Encoding, Serial: p.block.Serial(r)}
			if need == nil || need(c.Serial, r.MinTime, r.MaxTime) || v.bounds != nil && r.MinTime <= v.after {
				if c, err = p.block.Chunk(r); err != nil {
					return nil, err
				}
			}
			dst = append(dst, c)
		}
	}
	for _, t := range v.tables {
		if ref := h.refIn(t); ref != 0 {
			if dst, err = t.Scan(dst, buf, ref, mint, maxt, v.needRaw(need)); err != nil {
				return nil, err
			}
		}
	}
	if v.bounds != nil {
		return v.samplesAfter(dst, from)
	}
	return dst, nil
}

func sortByTime(cs []chunk.Chunk) {
	byTime := func(a, b chunk.Chunk) int { return cmp.Compare(a.MinTime, b.MinTime) }
	if !slices.IsSortedFunc(cs, byTime) {
		slices.SortStableFunc(cs, byTime)
	}
}

// querier implements storage.LabelQuerier over a view.
type querier struct {
	s          *Store
	v          *view
	mint, maxt int64
}

// Querier returns a querier of the samples in [mint, maxt] (ms, inclusive), as they are now.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	return &sampleQuerier{querier{s, s.view(), mint, maxt}}, nil
}

// ChunkQuerier returns a querier of the chunks that overlap [mint, maxt] (ms, inclusive), as they are now.
func (s *Store) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return &chunkQuerier{querier{s, s.view(), mint, maxt}}, nil
}

// Close lets go of the view. Series of the querier must not be read any more.
func (q *querier) Close() error {
	q.v.close()
	return nil
}

// entry is a selected series with its labels.
type entry struct {
	hit
	labels labels.Labels
}

// entries finds the series of a Select.
func (q *querier) entries(ctx context.Context, sorted bool, hints *storage.SelectHints, ms []*labels.Matcher) (*seriesSet, error) {
	s := &seriesSet{v: q.v, mint: q.mint, maxt: q.maxt, i: -1}
	if hints != nil {
		s.mint, s.maxt = max(s.mint, hints.Start), min(s.maxt, hints.End)
		s.v = q.v.coarsenFor(series.Resolution(ctx), hints)
	}
	hits, err := s.v.find(ctx, s.mint, s.maxt, ms)
	if err != nil {
		return nil, err
	}
	s.es = make([]entry, len(hits))
	var b labels.ScratchBuilder
	for i := range hits {
		s.es[i] = entry{hits[i], s.v.labels(&hits[i], &b)}
	}
	if err := s.v.err(); err != nil {
		return nil, err
	}
	if sorted {
		slices.SortFunc(s.es, func(a, b entry) int { return labels.Compare(a.labels, b.labels) })
	}
	return s, nil
}
