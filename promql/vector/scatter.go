package vector

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Scatter has other nodes add up the series that they have, so that sums travel and not samples.
type Scatter interface {
	// Divide divides the partitions that may have what matchers select into those that this node keeps, and those that only others
	// keep. When there are none of these, or this node is alone, there is nil.
	Divide(ctx context.Context, ms []*labels.Matcher) (here, there *shard.Set)
	// Scatter asks one replica of each of some partitions. It gets by ask the request about the windows that end before a time
	// (ms), which is nil when there are none, and what takes its answers in, each of which is [Answerer.Evaluate]'s. Takes are called one after the
	// other, and never twice about a partition and a window; an error of one ends all. The rest is what is to be read: partitions, and from
	// when on their windows end that are not answered.
	Scatter(ctx context.Context, parts *shard.Set, mint, maxt int64, ask func(before int64) (request []byte, take func(answer []byte) error)) (rest []shard.Span, err error)
}

// evaluate evaluates a plan, by other nodes as far as only they have what it is about.
func (e *Engine) evaluate(ctx context.Context, p *plan, b *budget) (*answer, error) {
	if e.o.Scatter == nil || !p.sendable() {
		return e.direct(ctx, p, b)
	}
	here, there := e.o.Scatter.Divide(ctx, p.matchers)
	if there == nil {
		return e.direct(ctx, p, b)
	}
	g := &gathered{p: p, budget: &budget{max: b.max}, known: map[string]int{}, names: p.newNames(), sum: sum{partial: newPartial(p.agg, 0, p.grid.n)}}
	read, err := e.scatter(ctx, g, here, there)
	var many prom.ErrTooManySamples
	switch {
	case err == nil:
		if err := b.take(int(g.budget.points.Load())); err != nil {
			return nil, err
		}
		e.scattered.WithLabelValues(outcome(read, there)).Inc()
		return g.answer(), nil
	case ctx.Err() != nil, errors.Is(err, errUnfit), errors.As(err, &many), errors.Is(err, series.ErrUnavailable):
		return nil, err
	}
	e.scattered.WithLabelValues("read").Inc()
	if !errors.Is(err, errTogether) {
		e.log.Warn("could not leave an aggregation to other nodes, and read what they have", "err", err)
	}
	return e.direct(ctx, p, b)
}

// outcome says what became of what only other nodes have.
func outcome(read, there *shard.Set) string {
	switch read.Len() {
	case 0:
		return "pushed"
	case there.Len():
		return "read"
	}
	return "partly"
}

// scatter gathers a plan: what is here while others add up what is there, and then the rest. It returns the partitions of which anything was read
// that only others have.
func (e *Engine) scatter(ctx context.Context, g *gathered, here, there *shard.Set) (read *shard.Set, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	own := make(chan error, 1)
	var mine *sum
	var names *names
	go func() {
		var err error
		if mine, names, err = e.within(ctx, g.p, here, g.budget); err != nil {
			cancel(err)
		}
		own <- err
	}()
	rest, err := e.ask(ctx, g, there)
	if err != nil {
		cancel(err)
	}
	<-own
	if err := context.Cause(ctx); err != nil {
		return nil, err // the first
	}
	if err := g.add(mine, names, 0); err != nil {
		return nil, err
	}
	return e.rest(ctx, g, rest)
}

// ask asks other nodes. What is wrong with their answers ends this query alone.
func (e *Engine) ask(ctx context.Context, g *gathered, there *shard.Set) (rest []shard.Span, err error) {
	mint, maxt := g.p.grid.span()
	return e.o.Scatter.Scatter(ctx, there, mint, maxt, func(before int64) ([]byte, func([]byte) error) {
		some := g.p.until(before)
		if some == nil {
			return nil, nil
		}
		request, err := some.request()
		if err != nil {
			return nil, nil
		}
		return request, func(answer []byte) error {
			s, seen, err := some.decodeSum(answer)
			if err != nil {
				return err
			}
			n := some.newNames()
			if seen {
				n.seen[n.fixed] = true
			}
			return g.add(s, &n, 0)
		}
	})
}

// rest reads what was not left to other nodes.
func (e *Engine) rest(ctx context.Context, g *gathered, rest []shard.Span) (read *shard.Set, err error) {
	read = &shard.Set{}
	bySteps := map[int]*shard.Set{}
	for _, s := range rest {
		k := g.p.grid.first(s.From)
		if k == g.p.grid.n {
			continue
		}
		if bySteps[k] == nil {
			bySteps[k] = &shard.Set{}
		}
		bySteps[k].Union(s.Parts)
		read.Union(s.Parts)
	}
	for k, parts := range bySteps {
		s, names, err := e.within(ctx, g.p.part(k, g.p.grid.n), parts, g.budget)
		if err != nil {
			return nil, err
		}
		if err := g.add(s, names, k); err != nil {
			return nil, err
		}
	}
	return read, nil
}

// within evaluates a plan over some partitions. A panic is an error of this query alone.
func (e *Engine) within(ctx context.Context, p *plan, parts *shard.Set, b *budget) (s *sum, n *names, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic during query evaluation", "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("unexpected error: %v", p)
		}
	}()
	if parts.Len() == 0 {
		n := p.newNames()
		return &sum{partial: newPartial(p.agg, 0, p.grid.n)}, &n, nil
	}
	return e.some(shard.Within(ctx, parts), p, b, 0)
}

// gathered is the sum of what several nodes added up.
type gathered struct {
	sum
	p      *plan
	budget *budget
	known  map[string]int // group by its labels
	names  names
}

// add adds a sum over other series, or over the same from a step on at which there is nothing of them yet.
func (g *gathered) add(s *sum, n *names, at int) error {
	var key []byte
	for k, first := range s.first {
		if first < 0 {
			continue
		}
		ls := s.labels[k]
		key = series.AppendKey(key[:0], ls)
		to, ok := g.known[string(key)]
		if !ok {
			to = len(g.labels)
			if int64(to+1)*int64(g.steps) > g.budget.max {
				return errUnfit // the engine counts what there is, and not what there may be
			}
			g.known[string(key)] = to
			g.labels = append(g.labels, ls)
			g.grow()
			g.first[to] = int32(to)
		}
		g.mergeRow(to, s.partial, k, at)
	}
	g.names.join(n)
	return nil
}

// answer is what was gathered, sorted by labels: there is no order in which several nodes meet groups.
func (g *gathered) answer() *answer {
	a := &answer{notes: g.names.notes(g.p)}
	for _, r := range g.rows(g.p) {
		if len(r.Floats) > 0 {
			a.matrix = append(a.matrix, r.Series)
		}
	}
	slices.SortFunc(a.matrix, func(x, y prom.Series) int { return labels.Compare(x.Metric, y.Metric) })
	return a
}
