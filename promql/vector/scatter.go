package vector

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

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
		return e.together(ctx, p, b)
	}
	here, there := e.o.Scatter.Divide(ctx, p.matchers)
	if there == nil {
		return e.together(ctx, p, b)
	}
	g := newGathered(p, b.max)
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
	return e.together(ctx, p, b)
}

// together evaluates a plan over all its series here. Of topk and bottomk that is what they are about: the engine decides which of equal series
// is the better.
func (e *Engine) together(ctx context.Context, p *plan, b *budget) (*answer, error) {
	if p.k > 0 {
		return nil, errTogether
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
// that only others have. When there is nothing to be asked of others, all is to be read at once.
func (e *Engine) scatter(ctx context.Context, g *gathered, here, there *shard.Set) (read *shard.Set, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	own := &local{share: func() (share, *names, error) { return e.within(ctx, g.p, here, g.budget) }, failed: cancel}
	rest, err := e.ask(ctx, g, there, own.begin)
	if err != nil {
		cancel(err)
	}
	found, n := own.wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err // the first
	}
	if n == nil {
		return nil, errTogether
	}
	if err := g.add(found, n, 0); err != nil {
		return nil, err
	}
	return e.rest(ctx, g, rest)
}

// local is the evaluation of what is here, which begins when others are asked.
type local struct {
	share  func() (share, *names, error)
	failed func(error)
	done   chan struct{} // nil: it has not begun
	found  share
	names  *names
}

func (l *local) begin() {
	if l.done != nil {
		return
	}
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		var err error
		if l.found, l.names, err = l.share(); err != nil {
			l.failed(err)
		}
	}()
}

// wait returns what was found, and nil if that has failed or not begun.
func (l *local) wait() (share, *names) {
	if l.done == nil {
		return nil, nil
	}
	<-l.done
	return l.found, l.names
}

// ask asks other nodes, and calls begin before the first request. When they give no answer, whatever the reason is, what they have can still be read.
func (e *Engine) ask(ctx context.Context, g *gathered, there *shard.Set, begin func()) (rest []shard.Span, err error) {
	mint, maxt := g.p.grid.span()
	rest, err = e.o.Scatter.Scatter(ctx, there, mint, maxt, func(before int64) ([]byte, func([]byte) error) {
		some := g.p.until(before)
		if some == nil {
			return nil, nil
		}
		request, err := some.request()
		if err != nil {
			return nil, nil
		}
		begin()
		return request, func(answer []byte) error {
			s, seen, err := some.decode(answer)
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
	if errors.Is(err, series.ErrUnavailable) {
		err = fmt.Errorf("ask other nodes: %v", err)
	}
	return rest, err
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

// within evaluates a plan over some partitions, of which there may be none. A panic is an error of this query alone.
func (e *Engine) within(ctx context.Context, p *plan, parts *shard.Set, b *budget) (s share, n *names, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic during query evaluation", "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("unexpected error: %v", p)
		}
	}()
	if parts.Len() == 0 {
		n := p.newNames()
		return p.nothing(), &n, nil
	}
	return e.some(shard.Within(ctx, parts), p, b, 0)
}
