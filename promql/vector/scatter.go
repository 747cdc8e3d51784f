package vector

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Scatter has other nodes add up the series that they have, so that sums travel and not samples.
type Scatter interface {
	// Scatter sends the request to one replica of each partition that this can be left to, and calls each with every answer of
	// [Engine.Evaluate]. The rest are the partitions that it has not asked about, and that are to be read here; nil: none.
	Scatter(ctx context.Context, mint, maxt int64, ms []*labels.Matcher, request []byte, each func(answer []byte) error) (rest *shard.Set, err error)
}

// request is a plan on its way to another node.
type request struct {
	Start, Step, Back int64 // of the grid, ms
	N                 int
	Out               int64
	Fn                fn
	Matchers          []matcher
	Window            float64
	Arg               posrange.PositionRange
	Agg               parser.ItemType
	By                []string
	Without           bool
}

type matcher struct {
	Type        labels.MatchType
	Name, Value string
}

// most is how many points a request may ask a node to hold.
const most = 50_000_000

func (p *plan) request() ([]byte, error) {
	g := p.grid
	q := request{g.start, g.step, g.back, g.n, p.out, p.fn, nil, p.window, p.arg, p.agg, p.by, p.without}
	for _, m := range p.matchers {
		q.Matchers = append(q.Matchers, matcher{m.Type, m.Name, m.Value})
	}
	return json.Marshal(q)
}

// planFrom reads a request of another node. Nothing of it is believed.
func planFrom(b []byte) (*plan, error) {
	var q request
	if err := json.Unmarshal(b, &q); err != nil {
		return nil, fmt.Errorf("read a plan: %w", err)
	}
	p := &plan{grid: grid{q.Start, q.Step, q.N, q.Back}, out: q.Out, fn: q.Fn, window: q.Window, arg: q.Arg, agg: q.Agg, by: q.By, without: q.Without}
	known := slices.Contains([]parser.ItemType{parser.SUM, parser.COUNT, parser.AVG, parser.MIN, parser.MAX, parser.GROUP}, q.Agg)
	if !known || q.Fn < fnSelect || q.Fn > fnPresent || q.N <= 0 || q.N > most || q.Step <= 0 || q.Back <= 0 || !slices.IsSorted(q.By) {
		return nil, fmt.Errorf("read a plan: %.200s is none", b)
	}
	for _, m := range q.Matchers {
		made, err := labels.NewMatcher(m.Type, m.Name, m.Value)
		if err != nil {
			return nil, fmt.Errorf("read a plan: %w", err)
		}
		p.matchers = append(p.matchers, made)
	}
	return p, nil
}

// Evaluate answers the request of another node from what is stored here, within shard.Only(ctx).
func (e *Engine) Evaluate(ctx context.Context, request []byte) (answer []byte, err error) {
	p, err := planFrom(request)
	if err != nil {
		return nil, err
	}
	done, err := e.AcquireQuerySlot(ctx, "for another node")
	if err != nil {
		return nil, err
	}
	defer done()
	s, names, err := e.sum(ctx, p, &budget{max: int64(e.o.MaxSamples)})
	if err != nil {
		return nil, err
	}
	return s.encode(names), nil
}

// sum evaluates a plan with an aggregation over what is stored here.
func (e *Engine) sum(ctx context.Context, p *plan, b *budget) (*sum, *names, error) {
	r, err := e.scan(ctx, p, b)
	if err != nil {
		return nil, nil, err
	}
	defer r.sel.Close()
	s, err := r.sum(ctx)
	if err != nil {
		return nil, nil, err
	}
	if r.names.odd {
		return nil, nil, errUnfit // there may be a series that differs in metadata alone on another node
	}
	return s, &r.names, r.check()
}

// scatter evaluates an aggregation on the nodes that have the series, and here what cannot be left to them.
func (e *Engine) scatter(ctx context.Context, p *plan, b *budget) (*answer, error) {
	request, err := p.request()
	if err != nil {
		return nil, err
	}
	all := &gathered{p: p, known: map[string]int{}, names: p.newNames(), max: b.max, sum: sum{partial: newPartial(p.agg, 0, p.grid.n)}}
	mint, maxt := p.grid.span()
	rest, err := e.o.Scatter.Scatter(ctx, mint, maxt, p.matchers, request, all.decode)
	if err != nil {
		return nil, err
	}
	if rest != nil && rest.Len() > 0 {
		s, names, err := e.sum(shard.Within(ctx, rest), p, b)
		if err != nil {
			return nil, err
		}
		if err := all.add(s); err != nil {
			return nil, err
		}
		all.names.join(names)
	}
	rows := all.rows(p)
	slices.SortFunc(rows, func(a, b row) int { return labels.Compare(a.Metric, b.Metric) })
	a := &answer{matrix: make(prom.Matrix, len(rows)), notes: all.names.notes(p)}
	for i := range rows {
		a.matrix[i] = rows[i].Series
	}
	return a, nil
}

// gathered is the sum of what several nodes added up.
type gathered struct {
	sum
	p     *plan
	known map[string]int // group by its labels
	names names
	max   int64 // points
}

// add adds a sum over other series.
func (g *gathered) add(s *sum) error {
	for k, ls := range s.labels {
		if s.first[k] < 0 {
			continue
		}
		key := string(series.AppendKey(nil, ls))
		to, ok := g.known[key]
		if !ok {
			to = len(g.labels)
			if int64(to+1)*int64(g.steps) > g.max {
				return prom.ErrTooManySamples("query execution")
			}
			g.known[key] = to
			g.labels = append(g.labels, ls)
			g.grow()
		}
		g.first[to] = int32(to)
		g.mergeRow(to, s.partial, k)
	}
	return nil
}
