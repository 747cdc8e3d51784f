package cluster

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Aggregate returns the statistics of the float samples in [mint, maxt] (ms, inclusive) of all series of the cluster that the matchers
// select. Where replicas were found equal, one of them adds up what it has; elsewhere their chunks are merged and added up here.
func (r *Reader) Aggregate(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (chunk.Stats, error) {
	if r.members.View().Alone() {
		return r.local.Aggregate(ctx, mint, maxt, ms...)
	}
	if maxt > mint {
		ctx = series.AllowResolution(ctx, max(series.Resolution(ctx), maxt-mint))
	}
	return ask(ctx, r, r.partitions(ctx, ms), func(ctx context.Context, q *question) (chunk.Stats, error) {
		total := chunk.NoStats()
		spans, err := q.spans(ctx, mint, maxt)
		if err != nil {
			return total, err
		}
		for _, s := range spans {
			one, err := q.aggregate(ctx, s, mint, maxt, ms)
			if err != nil {
				return total, err
			}
			total.AddSeries(one)
		}
		return total, nil
	})
}

// aggregate adds up a span.
func (q *question) aggregate(ctx context.Context, s span, mint, maxt int64, ms []*labels.Matcher) (chunk.Stats, error) {
	if s.cut > maxt {
		total, err := q.totals(ctx, s, request{mint: mint, maxt: maxt}, ms)
		var e *unanswered
		if !errors.As(err, &e) || !e.strict || e.stale {
			return total, err
		}
		s.cut = always // the replicas that were found equal do not answer any more
	}
	all, err := q.readSpan(ctx, s, request{mint: mint, maxt: maxt, cut: s.cut}, ms)
	if err != nil {
		return chunk.NoStats(), err
	}
	sel := merge(all, mint, maxt)
	defer sel.Close()
	a := adder{sel: sel, mint: mint, maxt: maxt, cut: s.cut}
	total, err := a.all(ctx)
	if err != nil {
		return total, err
	}
	return total, sel.Err()
}

// totals asks one replica of each partition for what it has added up.
func (q *question) totals(ctx context.Context, s span, req request, ms []*labels.Matcher) (chunk.Stats, error) {
	j := job[chunk.Stats]{q: q, kind: "aggregate", parts: s.parts, need: one, may: s.may, strict: true, once: true}
	j.ask = func(ctx context.Context, node int, parts *shard.Set, beat func()) (total chunk.Stats, err error) {
		if node == q.v.Self {
			return q.r.local.Aggregate(within(ctx, parts), req.mint, req.maxt, ms...)
		}
		req := req
		req.parts, req.sets, req.resolution = parts, [][]*labels.Matcher{ms}, series.Resolution(ctx)
		came := false
		err = q.stream(ctx, node, pathAggregate, &req, beat, func(payload []byte) (err error) {
			var rest []byte
			if total, rest, err = chunk.StatsFromBytes(payload); err == nil && (came || len(rest) > 0) {
				err = errTotal
			}
			came = true
			return err
		})
		if err == nil && !came {
			err = errTotal
		}
		return total, err
	}
	got, err := j.run(ctx)
	total := chunk.NoStats()
	for _, r := range got {
		total.AddSeries(r.answer)
	}
	return total, err
}

var errTotal = errors.New("the aggregate is malformed")

// aggregate answers with the statistics of all samples in the range.
func (h *ReadHandlers) aggregate(ctx context.Context, w *answerWriter, q *request) error {
	total, err := h.local.Aggregate(series.AllowResolution(ctx, q.resolution), q.mint, q.maxt, q.matchers()...)
	if err != nil {
		return err
	}
	return w.Write(total.AppendTo(nil))
}

// adder adds up the float samples of a selection in [mint, maxt].
type adder struct {
	sel        Selection
	mint, maxt int64
	cut        int64 // where other nodes have sent statistics of what is before it
}

// batch is how many series a goroutine takes at a time.
const batch = 64

// all adds up all series. Sums round in the order in which they are added: that of the batches, whoever took them.
func (a *adder) all(ctx context.Context) (chunk.Stats, error) {
	parts := make([]chunk.Stats, (a.sel.Len()+batch-1)/batch)
	var wg sync.WaitGroup
	var next atomic.Int64
	var failed atomic.Pointer[error]
	for range min(runtime.GOMAXPROCS(0), len(parts)) {
		wg.Go(func() {
			var sc scratch
			for i := int(next.Add(1)) - 1; i < len(parts); i = int(next.Add(1)) - 1 {
				err := ctx.Err()
				if err == nil {
					parts[i], err = a.some(&sc, i*batch, min((i+1)*batch, a.sel.Len()))
				}
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	wg.Wait()
	total := chunk.NoStats()
	if err := failed.Load(); err != nil {
		return total, *err
	}
	for i := range parts {
		total.AddSeries(parts[i])
	}
	return total, nil
}

// scratch is memory that a goroutine uses again.
type scratch struct {
	chunks []chunk.Chunk
	data   []byte // of chunks
	cols   chunk.Columns
}

// some adds up the series [from, to).
func (a *adder) some(sc *scratch, from, to int) (chunk.Stats, error) {
	total := chunk.NoStats()
	for i := from; i < to; i++ {
		one, err := a.series(sc, i)
		if err != nil {
			return total, err
		}
		total.AddSeries(one)
	}
	return total, nil
}

func (a *adder) series(sc *scratch, i int) (chunk.Stats, error) {
	one, mint := chunk.NoStats(), a.mint
	if m, ok := a.sel.(*merged); ok {
		if sum := m.sumOf(i); sum.Samples > 0 {
			one, mint = sum, a.cut
		}
	}
	need := func(_ uint64, lo, hi int64) bool { return lo < mint || hi > a.maxt }
	var err error
	sc.data = sc.data[:0]
	if sc.chunks, err = a.sel.Chunks(sc.chunks[:0], &sc.data, i, need); err != nil {
		return one, err
	}
	for j := range sc.chunks {
		switch c := &sc.chunks[j]; {
		case !isFloat(c) || c.MaxTime < mint:
		case !need(0, c.MinTime, c.MaxTime):
			one.Add(c.Stats)
		default:
			if err := addEdge(&one, &sc.cols, c, mint, a.maxt); err != nil {
				return one, err
			}
		}
	}
	return one, nil
}

// sumOf is what another node has added up of series i before the cut. Those that were found equal have the same.
func (m *merged) sumOf(i int) chunk.Stats {
	sum := chunk.NoStats()
	m.places(&m.rows[i], func(s *scanned, i int) {
		if s.sums != nil && s.sums[i].Samples > 0 {
			sum = s.sums[i]
		}
	})
	return sum
}
