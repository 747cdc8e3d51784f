package cluster

import (
	"context"
	"sort"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// scan answers with the series that match and what they have in the range: all chunks, or with a cut the statistics of what is before it and the
// chunks after it, or only labels.
func (h *ReadHandlers) scan(ctx context.Context, w *answerWriter, q *request) error {
	return h.send(ctx, w, q, 1)
}

// fetchDuty is the part of its time that answering one who repairs works: nobody waits for it.
const fetchDuty = 0.25

// fetch is scan for one who repairs.
func (h *ReadHandlers) fetch(ctx context.Context, w *answerWriter, q *request) error {
	return h.send(ctx, w, q, fetchDuty)
}

// send sends series and what they have in the range, working a part of the time.
func (h *ReadHandlers) send(ctx context.Context, w *answerWriter, q *request, part float64) error {
	if q.names {
		return h.seriesNames(ctx, w, q)
	}
	sel, err := h.local.Scan(series.AllowResolution(ctx, q.resolution), q.mint, q.maxt, q.matchers()...)
	if err != nil {
		return err
	}
	defer sel.Close()
	out, err := newScanWriter(w, sel.Coarse(), q.cut > q.mint)
	if err != nil {
		return err
	}
	w.flush()
	r := selectionReader{sel: sel, q: q}
	wanted := idSet(q.ids)
	cycle := h.cycle
	for i := range sel.Len() {
		cycle.Rest(ctx, part)
		if err := ctx.Err(); err != nil {
			return err
		}
		r.identify(i)
		if wanted != nil && !wanted[r.id] {
			continue
		}
		if err := r.read(i); err != nil {
			return err
		}
		if len(r.chunks) == 0 && r.sum.Samples == 0 {
			continue
		}
		if err := out.add(r.key, &r.sum, r.chunks); err != nil {
			return err
		}
	}
	if err := sel.Err(); err != nil {
		return err
	}
	return out.flush()
}

func idSet(ids []series.ID) map[series.ID]bool {
	if ids == nil {
		return nil
	}
	set := make(map[series.ID]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// selectionReader reads the series of a selection as a request wants them.
type selectionReader struct {
	sel Selection
	q   *request

	b      labels.ScratchBuilder
	key    []byte
	id     series.ID
	chunks []chunk.Chunk
	sum    chunk.Stats // with a cut: of samples before it
	data   []byte
	cols   chunk.Columns
}

// identify makes key and id those of series i.
func (r *selectionReader) identify(i int) {
	r.key = series.AppendKey(r.key[:0], r.sel.Labels(i, &r.b))
	r.id = series.HashKey(r.key)
}

// read makes chunks and sum what is wanted of series i.
func (r *selectionReader) read(i int) (err error) {
	r.data, r.sum = r.data[:0], chunk.NoStats()
	if r.q.cut > r.q.mint {
		if err = r.split(i); err != nil || !r.sel.Coarse() {
			return err
		}
	}
	if !r.sel.Coarse() {
		r.chunks, err = r.sel.Chunks(r.chunks[:0], &r.data, i, nil)
		return err
	}
	r.chunks, err = coarseChunks(r.chunks[:0], r.sel, i, &r.data)
	if r.q.cut > r.q.mint {
		after := r.chunks[:0]
		for _, c := range r.chunks {
			if c.MaxTime >= r.q.cut {
				after = append(after, c)
			}
		}
		r.chunks = after
	}
	return err
}

// split adds up the float samples before the cut, and leaves the chunks that reach behind it. Histograms are in no statistics.
func (r *selectionReader) split(i int) (err error) {
	q := r.q
	whole := func(lo, hi int64) bool { return lo >= q.mint && hi < q.cut }
	if r.chunks, err = r.sel.Chunks(r.chunks[:0], &r.data, i, func(_ uint64, lo, hi int64) bool { return !whole(lo, hi) }); err != nil {
		return err
	}
	after := r.chunks[:0]
	for _, c := range r.chunks {
		switch {
		case !isFloat(&c):
			continue
		case whole(c.MinTime, c.MaxTime):
			r.sum.Add(c.Stats)
			continue
		case c.MinTime < q.cut:
			if err := addEdge(&r.sum, &r.cols, &c, q.mint, q.cut-1); err != nil {
				return err
			}
		}
		if c.MaxTime >= q.cut {
			after = append(after, c)
		}
	}
	r.chunks = after
	return nil
}

// addEdge adds the samples of a chunk that lie in [mint, maxt].
func addEdge(s *chunk.Stats, cols *chunk.Columns, c *chunk.Chunk, mint, maxt int64) error {
	cols.Reset()
	if err := c.AppendTo(cols); err != nil {
		return err
	}
	t := cols.T
	lo := sort.Search(len(t), func(i int) bool { return t[i] >= mint })
	hi := sort.Search(len(t), func(i int) bool { return t[i] > maxt })
	edge := chunk.NoStats()
	edge.ObserveColumns(chunk.Columns{T: t[lo:max(lo, hi)], V: cols.V[lo:max(lo, hi)]})
	s.Add(edge)
	return nil
}

func isFloat(c *chunk.Chunk) bool {
	return c.Encoding != chunk.Histogram && c.Encoding != chunk.FloatHistogram
}

// seriesNames answers with the keys of the series that match and have something in the range.
func (h *ReadHandlers) seriesNames(ctx context.Context, w *answerWriter, q *request) error {
	out, err := newScanWriter(w, false, false)
	if err != nil {
		return err
	}
	w.flush()
	var key []byte
	n := 0
	err = eachName(series.AllowResolution(ctx, q.resolution), h.local, q.mint, q.maxt, q.matchers(), func(ls labels.Labels) (bool, error) {
		key = series.AppendKey(key[:0], ls)
		n++
		return q.limit == 0 || n < q.limit, out.add(key, nil, nil)
	})
	if err != nil {
		return err
	}
	return out.flush()
}

// eachName calls f for the labels of all series of this node that match and have something in a range, until it says that this is enough.
func eachName(ctx context.Context, local storage.Queryable, mint, maxt int64, ms []*labels.Matcher, f func(labels.Labels) (bool, error)) error {
	q, err := local.Querier(mint, maxt)
	if err != nil {
		return err
	}
	defer q.Close()
	set := q.Select(ctx, false, &storage.SelectHints{Start: mint, End: maxt, Func: "series"}, ms...)
	for set.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if more, err := f(set.At().Labels()); err != nil || !more {
			return err
		}
	}
	return set.Err()
}
