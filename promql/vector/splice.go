package vector

import (
	"context"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// splice is the Queryable of a query some of whose subtrees are replaced by selectors: it answers
// these with points that are there already, and all others from below.
type splice struct {
	below   storage.Queryable
	places  []place
	answers []spliced
}

// place is a subtree and where it hangs.
type place struct {
	plan *plan
	set  func(parser.Expr)
	in   []place // of topk and bottomk: what to evaluate in the place of all
}

// spliced are the points of a subtree, and the steps at which there may be some.
type spliced struct {
	*answer
	plan   *plan
	marker *labels.Matcher // that of the selector in its place: itself, since a text could have one that is equal
}

// find looks for the largest subtrees that have one of the shapes.
func (s *splice) find(st steps, stmt *parser.EvalStmt) {
	s.places, s.answers = nil, nil
	odd := false
	parser.Inspect(stmt.Expr, func(n parser.Node, _ []parser.Node) error {
		if c, ok := n.(*parser.Call); ok && c.Func.Name == "info" {
			odd = true // it looks at what its arguments select
		}
		return nil
	})
	if !odd {
		s.walk(st, &stmt.Expr, false, true)
	}
}

// walk looks at a subtree. A bare selector is not worth a splice, and may be looked at by what it is in.
func (s *splice) walk(st steps, e *parser.Expr, fixed, root bool) {
	if p, ok := st.planOf(*e, fixed); ok && (root || p.agg != 0 || p.fn != fnSelect) {
		s.places = append(s.places, place{p, func(x parser.Expr) { *e = x }, st.inside(*e, p, fixed)})
		return
	}
	switch n := (*e).(type) {
	case *parser.ParenExpr:
		s.walk(st, &n.Expr, fixed, false)
	case *parser.UnaryExpr:
		s.walk(st, &n.Expr, fixed, false)
	case *parser.StepInvariantExpr:
		s.walk(st, &n.Expr, true, false)
	case *parser.AggregateExpr:
		s.walk(st, &n.Expr, fixed, false)
	case *parser.BinaryExpr:
		s.walk(st, &n.LHS, fixed, false)
		s.walk(st, &n.RHS, fixed, false)
	case *parser.Call:
		switch n.Func.Name {
		case "absent", "absent_over_time", "timestamp", "start_timestamp":
			return // they look at their arguments
		}
		for i := range n.Args {
			s.walk(st, &n.Args[i], fixed, false)
		}
	}
}

// inside looks for shapes in an aggregation that is planned for other nodes alone.
func (st steps) inside(e parser.Expr, p *plan, fixed bool) []place {
	if p.k == 0 {
		return nil
	}
	var in splice
	in.walk(st, &unwrap(e).(*parser.AggregateExpr).Expr, fixed, false)
	return in.places
}

// put replaces a subtree by a selector of its points.
func (s *splice) put(pl place, a *answer) {
	m := &labels.Matcher{Type: labels.MatchEqual, Name: "\xff", Value: strconv.Itoa(len(s.answers))}
	s.answers = append(s.answers, spliced{a, pl.plan, m})
	pl.set(&parser.VectorSelector{LabelMatchers: []*labels.Matcher{m}, PosRange: pl.plan.expr.PositionRange()})
}

// Querier opens a querier of both.
func (s *splice) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.below.Querier(mint, maxt)
	if err != nil || len(s.answers) == 0 {
		return q, err
	}
	return &splicedQuerier{q, s}, nil
}

type splicedQuerier struct {
	storage.Querier
	s *splice
}

func (q *splicedQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	if len(ms) == 1 {
		if i := slices.IndexFunc(q.s.answers, func(a spliced) bool { return a.marker == ms[0] }); i >= 0 {
			return &pointSet{spliced: q.s.answers[i], i: -1}
		}
	}
	return q.Querier.Select(ctx, sorted, hints, ms...)
}

// pointSet are the series of an answer.
type pointSet struct {
	spliced
	i int
}

func (s *pointSet) Next() bool                        { s.i++; return s.i < len(s.matrix) }
func (s *pointSet) Err() error                        { return nil }
func (s *pointSet) Warnings() annotations.Annotations { return s.notes }
func (s *pointSet) At() storage.Series {
	return &pointSeries{s.matrix[s.i].Metric, s.matrix[s.i].Floats, s.plan}
}

type pointSeries struct {
	labels labels.Labels
	points []prom.FPoint
	plan   *plan
}

func (s *pointSeries) Labels() labels.Labels { return s.labels }

func (s *pointSeries) Iterator(chunkenc.Iterator) chunkenc.Iterator {
	return &pointIterator{points: s.points, out: s.plan.out, step: s.plan.grid.step, n: s.plan.grid.n, i: -1}
}

// pointIterator has a sample at every step: a stale marker where there is no point, since
// a selector would go on with the point before.
type pointIterator struct {
	points    []prom.FPoint // from that of step i or a later one
	out, step int64
	n, i      int
}

func (it *pointIterator) Next() chunkenc.ValueType { return it.to(it.i + 1) }

func (it *pointIterator) to(i int) chunkenc.ValueType {
	if it.i = i; i >= it.n {
		it.i = it.n
		return chunkenc.ValNone
	}
	for len(it.points) > 0 && it.points[0].T < it.AtT() {
		it.points = it.points[1:]
	}
	return chunkenc.ValFloat
}

func (it *pointIterator) Seek(t int64) chunkenc.ValueType {
	i := max(it.i, 0)
	if d := t - it.out; d > 0 {
		i = int(max(int64(i), (d+it.step-1)/it.step))
	}
	return it.to(min(i, it.n))
}

func (it *pointIterator) AtT() int64  { return it.out + int64(it.i)*it.step }
func (it *pointIterator) AtST() int64 { return 0 }
func (it *pointIterator) Err() error  { return nil }

func (it *pointIterator) At() (int64, float64) {
	if t := it.AtT(); len(it.points) == 0 || it.points[0].T != t {
		return t, absent
	}
	return it.points[0].T, it.points[0].F
}

func (it *pointIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return it.AtT(), nil
}

func (it *pointIterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return it.AtT(), nil
}
