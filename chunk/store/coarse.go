package store

import (
	"maps"
	"math"
	"slices"

	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/series"
)

// bounds are the times (after, until] that a downsampled block answers for.
type bounds struct{ after, until int64 }

// coarsen makes the view answer for times before its oldest samples from buckets that are no longer than a resolution
// (ms) which the reader allows. Samples that came later than they are kept are not what it is about: around them the others are gone. They
// are read from the buckets, once they are in there.
func (v *view) coarsen(allowed int64) {
	byStep := map[int64][]*block.Block{}
	for _, b := range v.coarse {
		if step := b.Meta().Resolution; step <= allowed {
			byStep[step] = append(byStep[step], b)
		}
	}
	oldest, finer := v.oldest(), []*block.Block(nil)
	kept := v.keptSince(0)
	for _, step := range slices.Sorted(maps.Keys(byStep)) {
		first, made := int64(math.MaxInt64), int64(math.MinInt64)
		for _, b := range byStep[step] {
			first = min(first, b.Meta().MinTime)
			for _, c := range b.Meta().Covers {
				made = max(made, c.End)
			}
		}
		oldest = max(oldest, min(kept, made))
		if first >= oldest {
			continue
		}
		until := chunk.BucketEnd(oldest, step)
		if v.bounds == nil {
			v.bounds = map[*block.Block]bounds{}
			v.after = until
		}
		for _, b := range finer {
			v.bounds[b] = bounds{until, v.bounds[b].until}
		}
		for _, b := range byStep[step] {
			v.bounds[b] = bounds{math.MinInt64, until}
		}
		v.blocks = append(v.blocks, byStep[step]...)
		oldest, finer, kept = first, byStep[step], v.keptSince(step)
	}
}

// keptSince is the time since which retention keeps all that there is of a resolution (ms); what is older may be gone in part.
func (v *view) keptSince(step int64) int64 {
	for _, r := range v.store.resolutions() {
		if r.Step.Milliseconds() != step || r.Retention == 0 {
			continue
		}
		newest := int64(math.MinInt64)
		for _, b := range slices.Concat(v.blocks, v.coarse) {
			newest = max(newest, b.Meta().MaxTime)
		}
		for _, t := range v.tables {
			_, hi := t.Bounds()
			newest = max(newest, hi)
		}
		if newest > math.MinInt64+r.Retention.Milliseconds() {
			return min(newest, v.store.o.Now().UnixMilli()) - r.Retention.Milliseconds()
		}
	}
	return math.MinInt64
}

// oldest is the time of the oldest sample, and a time beyond all if there is none.
func (v *view) oldest() int64 {
	t := int64(math.MaxInt64)
	for _, b := range v.blocks {
		t = min(t, b.Meta().MinTime)
	}
	for _, m := range v.tables {
		if lo, hi := m.Bounds(); lo <= hi {
			t = min(t, lo)
		}
	}
	return t
}

// buckets appends the buckets of a series that lie in the bounds of their blocks and in [mint, maxt] to dst, each as a
// chunk. One that need wants no data of stands for its samples by its statistics; of the others, and of one that reaches out of
// what is asked for, everything counts at the time of its last sample.
func (v *view) buckets(dst []chunk.Chunk, parts []part, mint, maxt int64, need chunk.Need) ([]chunk.Chunk, error) {
	if v.bounds == nil {
		return dst, nil
	}
	var all []chunk.Stats
	var rows []block.Row
	for _, p := range parts {
		lim, ok := v.bounds[p.block]
		if !ok {
			continue
		}
		var err error
		if rows, err = p.block.Chunks(rows[:0], p.ord, mint, maxt); err != nil {
			return nil, err
		}
		all = all[:0]
		for _, r := range rows {
			left, err := appendLeft(nil, p.block, r, v.deleted(p))
			if err != nil {
				return nil, err
			}
			for _, c := range left {
				if all, err = c.AppendBuckets(all); err != nil {
					return nil, err
				}
			}
		}
		for _, s := range all {
			end := chunk.BucketEnd(s.MaxTime, p.block.Meta().Resolution)
			if s.Count() == 0 || end <= lim.after || end > lim.until || s.MaxTime < mint || s.MaxTime > maxt {
				continue
			}
			if dst, err = v.bucket(dst, s, mint, need); err != nil {
				return nil, err
			}
		}
	}
	return dst, nil
}

func (v *view) bucket(dst []chunk.Chunk, s chunk.Stats, mint int64, need chunk.Need) ([]chunk.Chunk, error) {
	if need == nil || s.MinTime < mint || need(0, s.MinTime, s.MaxTime) {
		s.MinTime = s.MaxTime
	}
	if need == nil || need(0, s.MinTime, s.MaxTime) {
		return chunk.Encode(dst, chunk.Slice([]series.Sample{{T: s.MaxTime, V: v.pick(s)}}))
	}
	return append(dst, chunk.Chunk{Stats: s, Encoding: chunk.Downsampled}), nil
}

// needRaw wants the data of chunks of samples that samplesAfter cuts, too.
func (v *view) needRaw(need chunk.Need) chunk.Need {
	if v.bounds == nil || need == nil {
		return need
	}
	return func(serial uint64, lo, hi int64) bool { return lo <= v.after || need(serial, lo, hi) }
}

// samplesAfter cuts chunks of samples where buckets answer for what is before.
func (v *view) samplesAfter(dst []chunk.Chunk, from int) ([]chunk.Chunk, error) {
	var cols chunk.Columns
	for i := from; i < len(dst); i++ {
		c := &dst[i]
		if c.MinTime > v.after || !isFloat(c) {
			continue
		}
		cols.Reset()
		if err := c.AppendTo(&cols); err != nil {
			return nil, err
		}
		n, _ := slices.BinarySearch(cols.T, v.after+1)
		samples := make([]series.Sample, 0, len(cols.T)-n)
		for j := n; j < len(cols.T); j++ {
			samples = append(samples, series.Sample{T: cols.T[j], V: cols.V[j]})
		}
		cut, err := chunk.Encode(nil, chunk.Slice(samples))
		if err != nil {
			return nil, err
		}
		dst = slices.Replace(dst, i, i+1, cut...)
		i += len(cut) - 1
	}
	return dst, nil
}

// pickOf returns which number of a bucket stands for its samples to Prometheus's engine, which knows samples
// only; false when none does.
func pickOf(h *storage.SelectHints) (func(chunk.Stats) float64, bool) {
	last := func(s chunk.Stats) float64 { return s.Last }
	if h.Range == 0 {
		return last, true
	}
	switch h.Func {
	case "last_over_time", "present_over_time":
		return last, true
	case "min_over_time":
		return func(s chunk.Stats) float64 { return s.Min }, true
	case "max_over_time":
		return func(s chunk.Stats) float64 { return s.Max }, true
	case "sum_over_time":
		return func(s chunk.Stats) float64 { return s.Total() }, true
	}
	return nil, false
}

// coarsenFor returns the view with buckets for a query of Prometheus's engine: those that its step and range allow, and those that were
// asked for. It is closed with the view that it comes from.
func (v *view) coarsenFor(asked int64, h *storage.SelectHints) *view {
	pick, ok := pickOf(h)
	if !ok {
		return v
	}
	allowed := h.Step
	if h.Range > 0 {
		allowed = h.Range
		if h.Step > 0 {
			allowed = min(allowed, h.Step)
		}
	}
	own := *v
	own.blocks = slices.Clip(v.blocks)
	own.pick = pick
	own.coarsen(max(asked, allowed))
	return &own
}
