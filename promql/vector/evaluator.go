package vector

import (
	"context"
	"log/slog"

	"github.com/minitrue/minitrue/chunk/series"
)

// evaluator evaluates plans over a source.
type evaluator struct {
	source  Source
	log     *slog.Logger
	hot     *hotChunks
	samples bool // statistics are not used: for tests
}

// direct evaluates a plan over all that the source has.
func (e *evaluator) direct(ctx context.Context, p *plan, b *budget) (*answer, error) {
	r, err := e.scan(ctx, p, b)
	if err != nil {
		return nil, err
	}
	defer r.sel.Close()
	var a answer
	if p.agg == 0 {
		a.matrix, err = r.each(ctx)
	} else {
		var sum *sum
		if sum, err = r.sum(ctx); err == nil {
			a.matrix = ordered(sum.rows(p))
		}
	}
	if err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	a.notes = r.names.notes(p)
	return &a, nil
}

// scan begins the evaluation of a plan. The caller closes the selection.
func (e *evaluator) scan(ctx context.Context, p *plan, b *budget) (*run, error) {
	mint, maxt := p.grid.span()
	ctx = series.AllowResolution(ctx, max(series.Resolution(ctx), p.resolution()))
	sel, err := e.source.Scan(ctx, mint, maxt, p.matchers...)
	if err != nil {
		return nil, err
	}
	return &run{p: p, log: e.log, hot: e.hot, samples: e.samples, sel: sel, budget: b, has: make([]bool, sel.Len()), names: p.newNames()}, nil
}

// some evaluates a plan with an aggregation over some of the series that it is about. It has at most so many cells; 0: what the budget allows.
func (e *evaluator) some(ctx context.Context, p *plan, b *budget, cells int64) (s share, n *names, err error) {
	r, err := e.scan(ctx, p, b)
	if err != nil {
		return nil, nil, err
	}
	defer r.sel.Close()
	r.cells = cells
	if p.k > 0 {
		s, err = r.tops(ctx)
	} else {
		s, err = r.sum(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	if r.names.odd {
		return nil, nil, errTogether // among the others may be a series that differs in metadata alone
	}
	return s, &r.names, r.sel.Err()
}
