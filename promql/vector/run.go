package vector

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/schema"
	"github.com/prometheus/prometheus/util/annotations"
)

const (
	fewGroups = 64 // up to so many, series are divided among goroutines; above, groups are
	portion   = 32 // series or groups that a goroutine takes at a time
)

// run is the evaluation of one plan.
type run struct {
	p       *plan
	sel     Selection
	log     *slog.Logger
	hot     *hotChunks
	budget  *budget
	cells   int64 // that the sum may have; 0: what the budget allows
	samples bool  // statistics are not used

	has   []bool // by series: it had points, and its function drops its name
	names names
}

// answer is what a plan evaluates to, in the engine's order.
type answer struct {
	matrix prom.Matrix
	notes  annotations.Annotations
}

// points is how many there are of an answer, which may be nil.
func (a *answer) points() (n int64) {
	if a != nil {
		n = int64(a.matrix.TotalSamples())
	}
	return n
}

// check says whether the labels of what was evaluated can be as they are.
func (r *run) check() error {
	if (r.names.fixed == "" || r.names.odd) && twice(r.sel, r.has) {
		return errUnfit // the engine says what is wrong
	}
	return r.sel.Err()
}

// sum is what the series of a selection add up to, by groups.
type sum struct {
	*partial
	labels []labels.Labels // by group
}

// rows returns the groups that have points.
func (s *sum) rows(pl *plan) []row {
	var out []row
	for g, first := range s.first {
		if first >= 0 {
			out = append(out, row{prom.Series{Metric: s.labels[g], Floats: s.finish(g, pl)}, first})
		}
	}
	return out
}

// sum evaluates a plan with an aggregation.
func (r *run) sum(ctx context.Context) (*sum, error) {
	g := r.p.group(r.sel)
	switch cells := int64(len(g.labels)) * int64(r.p.grid.n); {
	case cells > r.budget.max:
		return nil, errUnfit // the engine counts what there is, and not what there may be
	case r.cells > 0 && cells > r.cells:
		return nil, errTogether // the samples may well take fewer bytes
	}
	var err error
	s := &sum{labels: g.labels}
	if len(g.labels) <= fewGroups {
		s.partial, err = r.bySeries(ctx, g)
	} else {
		s.partial, err = r.byGroup(ctx, g)
	}
	return s, err
}

// To wake a processor for another goroutine may take 0.1 ms, so that few series are evaluated by one goroutine
// unless that turns out to take longer.
const (
	fewUnits = 512
	alone    = 150 * time.Microsecond
)

// parallel calls do for all of [0, n) in portions, from several goroutines with a worker each, until one fails.
func (r *run) parallel(ctx context.Context, n, portion int, do func(w *worker, from, to int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards first and r.names
	var first error
	var next atomic.Int64
	share := func(do func(w *worker, from, to int) error) {
		w := newWorker(r.p, r.sel, r.budget, r.has)
		w.hot = r.hot
		if w.log = r.log; r.samples {
			w.need = nil
		}
		err := w.work(ctx, n, portion, &next, do)
		mu.Lock()
		defer mu.Unlock()
		if err != nil && first == nil {
			first = err
			next.Store(int64(n)) // the others stop
		}
		r.names.join(&w.names)
	}
	helpers, began := min(runtime.GOMAXPROCS(0), (n+portion-1)/portion)-1, time.Now()
	share(func(w *worker, from, to int) error {
		if n > fewUnits || time.Since(began) > alone {
			for ; helpers > 0; helpers-- {
				wg.Go(func() { share(do) })
			}
		}
		return do(w, from, to)
	})
	wg.Wait()
	return first
}

// work takes portions until there are no more. A panic is an error of this query alone, as it is in the engine.
func (w *worker) work(ctx context.Context, n, portion int, next *atomic.Int64, do func(w *worker, from, to int) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("panic during query evaluation", "expr", w.p.expr, "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("unexpected error: %v", p)
		}
	}()
	for {
		from := int(next.Add(int64(portion))) - portion
		if from >= n {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(w, from, min(from+portion, n)); err != nil {
			return err
		}
	}
}

// each evaluates a plan without an aggregation.
func (r *run) each(ctx context.Context) (prom.Matrix, error) {
	all := make(prom.Matrix, r.sel.Len())
	few := min(portion, max(1, len(all)/(8*runtime.GOMAXPROCS(0)))) // so that all have as much to do
	err := r.parallel(ctx, len(all), few, func(w *worker, from, to int) error {
		for i := from; i < to; i++ {
			n, err := w.series(i)
			if err != nil {
				return err
			}
			if n > 0 {
				all[i] = prom.Series{Metric: w.labels(i), Floats: w.points(n)}
			}
		}
		return nil
	})
	return slices.DeleteFunc(all, func(s prom.Series) bool { return len(s.Floats) == 0 }), err
}

// labels are those that a function leaves a series that had points.
func (w *worker) labels(i int) labels.Labels {
	ls := w.sel.Labels(i, &w.builder)
	if w.p.fn.drops() {
		w.names.addLabels(ls)
		return ls.DropReserved(schema.IsMetadataLabel)
	}
	return ls
}

// points copies the n points of the series that was evaluated last.
func (w *worker) points(n int) []prom.FPoint {
	if len(w.slab) < n {
		w.slab = make([]prom.FPoint, max(n, min(4096, n*portion)))
	}
	out := w.slab[:0:n]
	w.slab = w.slab[n:]
	for i, x := range w.out {
		if !isAbsent(x) {
			out = append(out, prom.FPoint{T: w.p.out + int64(i)*w.p.grid.step, F: x})
		}
	}
	return out
}

// bySeries divides the series among goroutines, and merges what they add up in the order of the series.
func (r *run) bySeries(ctx context.Context, g *groups) (*partial, error) {
	n := len(g.of)
	size := max(portion, (n+4*runtime.GOMAXPROCS(0)-1)/(4*runtime.GOMAXPROCS(0)))
	parts := make([]*partial, (n+size-1)/size)
	err := r.parallel(ctx, n, size, func(w *worker, from, to int) error {
		part := newPartial(r.p.agg, len(g.labels), r.p.grid.n)
		parts[from/size] = part
		for i := from; i < to; i++ {
			if i%portion == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if err := w.addTo(part, int(g.of[i]), i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return newPartial(r.p.agg, 0, r.p.grid.n), nil
	}
	for _, o := range parts[1:] {
		parts[0].merge(o)
	}
	return parts[0], nil
}

// note evaluates series i as [worker.series] does, and takes notice of its name.
func (w *worker) note(i int) (int, error) {
	n, err := w.series(i)
	if err == nil && w.has[i] {
		w.names.add(w.sel, i)
	}
	return n, err
}

// addTo evaluates series i and adds it to a group.
func (w *worker) addTo(part *partial, group, i int) error {
	n, err := w.note(i)
	if err != nil || n == 0 {
		return err
	}
	return part.add(group, i, w.out)
}

// byGroup divides the groups among goroutines, so that nothing is to be merged.
func (r *run) byGroup(ctx context.Context, g *groups) (*partial, error) {
	members := make([][]int32, len(g.labels))
	for i, k := range g.of {
		members[k] = append(members[k], int32(i))
	}
	all := newPartial(r.p.agg, len(members), r.p.grid.n)
	return all, r.parallel(ctx, len(members), portion, func(w *worker, from, to int) error {
		for k := from; k < to; k++ {
			for _, i := range members[k] {
				if err := w.addTo(all, k, int(i)); err != nil { // its cells are nobody else's
					return err
				}
			}
		}
		return nil
	})
}

// row is a series of an answer.
type row struct {
	prom.Series
	first int32 // the first series that had a point of it
}

// ordered puts rows in the order in which the engine meets them.
func ordered(rows []row) prom.Matrix {
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.first, b.first) })
	out := make(prom.Matrix, len(rows))
	for i := range rows {
		out[i] = rows[i].Series
	}
	return out
}
