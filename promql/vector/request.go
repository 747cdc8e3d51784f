package vector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/promql/cost"
)

// request is a plan on its way to another node, as JSON. Functions and operators go by their names in PromQL, so that nodes
// of different releases mean the same.
type request struct {
	Start, Step, Back int64 // of the grid, ms
	Steps             int
	Resolution        int64  // ms
	Function          string // "": the selector itself
	Window            float64
	Matchers          []matcher
	Aggregation       string
	K                 int // of topk and bottomk
	By                []string
	Without           bool
}

type matcher struct {
	Type        labels.MatchType
	Name, Value string
}

const (
	mostSteps  = 1 << 16 // of a request
	mostTime   = 1 << 50 // ms, before and after 1970
	mostLabels = 1 << 10 // matchers, and labels of groups
)

// aggregations are the operators that a plan may have.
var aggregations = map[string]parser.ItemType{
	"sum": parser.SUM, "count": parser.COUNT, "avg": parser.AVG, "min": parser.MIN, "max": parser.MAX, "group": parser.GROUP,
	"topk": parser.TOPK, "bottomk": parser.BOTTOMK,
}

// sendable says whether another node would accept the plan: it adds up series of one metric, so that no two of them become equal
// when they lose their names, and its times are far from overflowing.
func (p *plan) sendable() bool {
	within := func(t int64) bool { return -mostTime <= t && t <= mostTime }
	g := &p.grid
	ranks := p.agg == parser.TOPK || p.agg == parser.BOTTOMK
	return p.agg != 0 && ranks == (p.k > 0) && p.k <= mostK && p.newNames().fixed != "" &&
		p.k >= 0 && 0 < g.n && g.n <= mostSteps && 0 < g.step && g.step <= mostTime/int64(g.n) && 0 < g.back && within(g.back) && within(g.start) &&
		within(p.coarsest) && p.coarsest >= 0 && !math.IsNaN(p.window) && !math.IsInf(p.window, 0) &&
		len(p.matchers) <= mostLabels && len(p.by) <= mostLabels && slices.IsSorted(p.by) &&
		!slices.ContainsFunc(p.matchers, func(m *labels.Matcher) bool { return !utf8.ValidString(m.Name) || !utf8.ValidString(m.Value) }) // JSON would change them
}

// request returns the plan as another node reads it.
func (p *plan) request() ([]byte, error) {
	g := p.grid
	q := request{Start: g.start, Step: g.step, Back: g.back, Steps: g.n, Resolution: p.resolution(), Window: p.window, K: p.k, By: p.by, Without: p.without}
	for name, f := range functions {
		if f == p.fn {
			q.Function = name
		}
	}
	for name, op := range aggregations {
		if op == p.agg {
			q.Aggregation = name
		}
	}
	for _, m := range p.matchers {
		q.Matchers = append(q.Matchers, matcher{m.Type, m.Name, m.Value})
	}
	return json.Marshal(q)
}

var errPlan = errors.New("the plan of another node is malformed")

// planFrom reads a request. Nothing of it is believed, and what this release does not know is an error.
func planFrom(b []byte) (*plan, error) {
	var q request
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return nil, fmt.Errorf("%w: %w", errPlan, err)
	}
	p := &plan{grid: grid{q.Start, q.Step, q.Steps, q.Back}, window: q.Window, agg: aggregations[q.Aggregation], k: q.K, by: q.By, without: q.Without, coarsest: q.Resolution}
	if q.Function != "" {
		if p.fn = functions[q.Function]; p.fn == fnSelect {
			return nil, fmt.Errorf("%w: it has the function %.50q", errPlan, q.Function)
		}
	}
	if len(q.Matchers) > mostLabels {
		return nil, fmt.Errorf("%w: it has %d matchers", errPlan, len(q.Matchers))
	}
	for _, m := range q.Matchers {
		made, err := labels.NewMatcher(m.Type, m.Name, m.Value)
		if m.Type > labels.MatchNotRegexp || m.Type < 0 || err != nil {
			return nil, fmt.Errorf("%w: its matcher of label %.50q is none", errPlan, m.Name)
		}
		p.matchers = append(p.matchers, made)
	}
	if !p.sendable() {
		return nil, fmt.Errorf("%w: %.200s", errPlan, b)
	}
	return p, cost.Matchers(p.matchers...)
}

// until is the plan of the steps whose windows end before a time (ms), nil when there are none.
func (p *plan) until(before int64) *plan { return p.part(0, p.grid.first(before)) }

func (p *plan) part(from, to int) *plan {
	if from == to {
		return nil
	}
	c := *p
	c.coarsest = p.resolution()
	c.grid.start, c.grid.n = p.grid.at(from), to-from
	return &c
}

// first is the first window that ends at a time (ms) or after it, n if there is none.
func (g *grid) first(t int64) int {
	if t <= g.start {
		return 0
	}
	if t > g.at(g.n-1) {
		return g.n
	}
	return int((t - g.start + g.step - 1) / g.step)
}
