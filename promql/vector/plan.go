package vector

import (
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
)

// fn is what is made of a window.
type fn int

const (
	fnSelect fn = iota // the last sample, unless it is a stale marker
	fnRate
	fnIncrease
	fnDelta
	fnSum
	fnCount
	fnAvg
	fnMin
	fnMax
	fnLast
	fnPresent
)

var functions = map[string]fn{
	"rate": fnRate, "increase": fnIncrease, "delta": fnDelta,
	"sum_over_time": fnSum, "count_over_time": fnCount, "avg_over_time": fnAvg, "min_over_time": fnMin,
	"max_over_time": fnMax, "last_over_time": fnLast, "present_over_time": fnPresent,
}

// drops says whether a function drops the metric's name.
func (f fn) drops() bool { return !f.lasts() }

// lasts says whether a function is about the last sample alone.
func (f fn) lasts() bool { return f == fnSelect || f == fnLast }

// ends says whether a function is about the first and the last sample.
func (f fn) ends() bool { return f == fnRate || f == fnIncrease || f == fnDelta }

// rises says whether a function is about a counter.
func (f fn) rises() bool { return f == fnRate || f == fnIncrease }

// counts says whether a function needs to know how many samples there are.
func (f fn) counts() bool { return f.ends() || f == fnAvg || f == fnCount }

// plan is a subtree of a query that this package evaluates. It holds nothing of the store, so that
// it could be sent to where the series are.
type plan struct {
	expr     parser.Expr
	grid     grid
	out      int64 // the time of the first point; the others follow at grid.step
	fn       fn
	matchers []*labels.Matcher
	window   float64                // seconds of the range
	arg      posrange.PositionRange // of the function's argument, for annotations

	agg     parser.ItemType // 0: none
	k       int             // of topk and bottomk
	by      []string        // sorted
	without bool

	coarsest int64 // resolution of the whole, where this is some of its steps
}

// resolution is the length (ms) of buckets that answer as samples do where these are no longer kept: those that fit into
// steps and windows. A single point of a selector allows none.
func (p *plan) resolution() int64 {
	switch {
	case p.coarsest > 0:
		return p.coarsest
	case p.fn == fnSelect && p.grid.n == 1:
		return 0
	case p.fn == fnSelect:
		return p.grid.step
	case p.grid.n == 1:
		return p.grid.back
	}
	return min(p.grid.step, p.grid.back)
}

// steps are the times at which a statement is evaluated.
type steps struct {
	start, step int64 // ms
	n           int
	lookback    time.Duration
	ranks       bool // topk and bottomk are planned
}

func stepsOf(s *parser.EvalStmt) (steps, bool) {
	st := steps{start: timestamp.FromTime(s.Start), step: 1, n: 1, lookback: s.LookbackDelta}
	if s.Start.Equal(s.End) && s.Interval == 0 {
		return st, true
	}
	if st.step = s.Interval.Milliseconds(); st.step <= 0 {
		return st, false
	}
	n := (timestamp.FromTime(s.End)-st.start)/st.step + 1
	st.n = int(n)
	return st, n > 0 && n < 1<<31
}

// planOf plans an expression; ok says whether it has one of the shapes. A fixed one is evaluated once.
func (st steps) planOf(e parser.Expr, fixed bool) (p *plan, ok bool) {
	p = &plan{expr: e, out: st.start, grid: grid{start: st.start, step: st.step, n: st.n}}
	if fixed {
		p.grid.n = 1
	}
	e = unwrap(e)
	if a, isAgg := e.(*parser.AggregateExpr); isAgg {
		switch a.Op {
		case parser.SUM, parser.COUNT, parser.AVG, parser.MIN, parser.MAX, parser.GROUP:
		case parser.TOPK, parser.BOTTOMK:
			if p.k = constant(a.Param); !st.ranks || p.k < 1 || p.k > mostK {
				return nil, false
			}
		default:
			return nil, false
		}
		p.agg, p.without = a.Op, a.Without
		p.by = slices.Clone(a.Grouping)
		if a.Without {
			p.by = append(p.by, model.MetricNameLabel, model.MetricTypeLabel, model.MetricUnitLabel)
		}
		slices.Sort(p.by)
		p.by = slices.Compact(p.by)
		e = unwrap(a.Expr)
	}
	vs, back, ok := st.function(p, e)
	if !ok || vs.Anchored || vs.Smoothed || (vs.Timestamp != nil) != fixed {
		return nil, false
	}
	if back%time.Millisecond != 0 || vs.OriginalOffset%time.Millisecond != 0 {
		return nil, false // the engine adds some of these up before it cuts fractions off
	}
	if fixed {
		p.grid.start = *vs.Timestamp
	}
	p.grid.start -= vs.OriginalOffset.Milliseconds()
	p.grid.back = back.Milliseconds()
	p.matchers = vs.LabelMatchers
	return p, p.grid.back > 0
}

// constant is the number that an expression is, cut off; 0: it is none, or a large one.
func constant(e parser.Expr) int {
	n, ok := unwrap(e).(*parser.NumberLiteral)
	if !ok || !(n.Val >= 1 && n.Val < 1<<31) {
		return 0
	}
	return int(n.Val)
}

// function plans what is below the aggregation.
func (st steps) function(p *plan, e parser.Expr) (vs *parser.VectorSelector, back time.Duration, ok bool) {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return e, st.lookback, true
	case *parser.Call:
		if p.fn, ok = functions[e.Func.Name]; !ok {
			return nil, 0, false
		}
		ms, ok := e.Args[0].(*parser.MatrixSelector)
		if !ok {
			return nil, 0, false // a subquery
		}
		p.arg = ms.PositionRange()
		p.window = ms.Range.Seconds()
		vs, ok = ms.VectorSelector.(*parser.VectorSelector)
		return vs, ms.Range, ok
	}
	return nil, 0, false
}

func unwrap(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}
