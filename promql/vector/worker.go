package vector

import (
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"

	"github.com/minitrue/minitrue/chunk"
)

// worker evaluates series, one after the other. Each goroutine has one.
type worker struct {
	p      *plan
	sel    Selection
	budget *budget
	log    *slog.Logger
	cut    func(mint, maxt int64) bool // which chunks a window divides
	need   chunk.Need                  // which of these are to be read; nil: all chunks are
	hot    *hotChunks

	u       units
	chunks  []chunk.Chunk
	data    []byte // of chunks
	queue   []int32
	resets  []int32
	prefix  []doubled // sums from the beginning
	out     []float64
	names   names // of series that had points, where the function drops them
	has     []bool
	slab    []prom.FPoint
	ranking *ranking // of topk and bottomk
	builder labels.ScratchBuilder
}

// budget bounds the points that a query holds.
type budget struct {
	points atomic.Int64
	max    int64
}

func (b *budget) take(n int) error {
	if b.points.Add(int64(n)) > b.max {
		return prom.ErrTooManySamples("query execution")
	}
	return nil
}

func newWorker(p *plan, sel Selection, b *budget, has []bool) *worker {
	w := &worker{p: p, sel: sel, budget: b, has: has, names: p.newNames(), out: make([]float64, p.grid.n)}
	w.cut = p.grid.cut
	if p.fn.lasts() {
		w.cut = p.grid.cutAbove // what is cut below still ends as it ends
	}
	w.need = func(serial uint64, mint, maxt int64) bool {
		if !w.cut(mint, maxt) {
			return false
		}
		_, hot := w.hot.Get(serial)
		return !hot
	}
	return w
}

// series evaluates one series into w.out, and returns how many of its points are there. If some are, labels follows, or note is called instead.
func (w *worker) series(i int) (int, error) {
	err := w.evaluate(i, w.need)
	if errors.Is(err, errCoarse) {
		err = w.evaluate(i, nil)
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for _, x := range w.out {
		if !isAbsent(x) {
			n++
		}
	}
	w.has[i] = n > 0 && w.p.fn.drops()
	return n, w.budget.take(n)
}

// evaluate reads the series with data where need says so, with nil everywhere.
func (w *worker) evaluate(i int, need chunk.Need) (err error) {
	if err := w.read(i, need); err != nil {
		return err
	}
	w.u.reset()
	for k := range w.chunks {
		c := &w.chunks[k]
		switch {
		case c.Encoding == chunk.Histogram || c.Encoding == chunk.FloatHistogram:
			return errUnfit
		case c.Encoding == chunk.Downsampled:
			err = w.u.addBucket(w.p, &c.Stats)
		case need == nil || w.cut(c.MinTime, c.MaxTime):
			err = w.addCut(c, need == nil)
		case w.p.fn.rises() && c.Min < 0:
			err = errCoarse // its increase is no bound of what its resets are
		default:
			err = w.u.addChunk(w.p.fn, &c.Stats)
		}
		if err != nil {
			return err
		}
		if int64(len(w.u.t)) > w.budget.max {
			return prom.ErrTooManySamples("query execution")
		}
	}
	if w.u.mixed {
		w.u.level(w.p.fn)
	}
	switch w.p.fn {
	case fnSelect, fnLast:
		w.lasts(w.out)
	case fnRate, fnIncrease, fnDelta:
		w.rates(w.out)
	case fnSum, fnAvg:
		return w.sums(w.out)
	case fnCount:
		w.counts(w.out)
	case fnMin, fnMax:
		w.extremes(w.out)
	case fnPresent:
		w.presents(w.out)
	}
	return nil
}

// addCut adds a chunk that is to be decoded, if need be sample by sample. Of one that is hot a single window takes what it holds of it.
func (w *worker) addCut(c *chunk.Chunk, samples bool) error {
	x, hot := w.hot.Get(c.Serial)
	g := &w.p.grid
	switch {
	case !hot && c.Serial != 0 && c.Data == nil:
		return errCoarse // it was hot a moment ago
	case !hot:
		from := len(w.u.t)
		err := w.u.addSamples(w.p.fn, c)
		if err == nil {
			w.warm(c, w.u.t[from:], w.u.v[from:])
		}
		return err
	case samples || g.n > 1:
		x.appendTo(&w.u)
		return nil
	}
	s := x.part(w.p.fn, g.start-g.back, g.start)
	return w.u.addChunk(w.p.fn, &s)
}

// read reads the chunks of a series with data where need says so, with nil everywhere. Buckets that stand for samples
// which are no longer kept come with their statistics always: no sample would say as much.
func (w *worker) read(i int, need chunk.Need) (err error) {
	w.data = w.data[:0]
	if !w.sel.Coarse() {
		w.chunks, err = w.sel.Chunks(w.chunks[:0], &w.data, i, need)
		return err
	}
	if w.chunks, err = w.sel.Chunks(w.chunks[:0], &w.data, i, chunk.NeedNone); err != nil {
		return err
	}
	n := slices.IndexFunc(w.chunks, func(c chunk.Chunk) bool { return c.Encoding != chunk.Downsampled })
	if n < 0 {
		return nil
	}
	from := w.chunks[n].MinTime
	all, err := w.sel.Chunks(nil, &w.data, i, need)
	after := slices.IndexFunc(all, func(c chunk.Chunk) bool { return c.MinTime >= from })
	if err == nil && after >= 0 {
		w.chunks = append(w.chunks[:n], all[after:]...)
	}
	return err
}
