package vector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	prom "github.com/prometheus/prometheus/promql"
)

// AnswererOptions are for NewAnswerer. The zero value is usable.
type AnswererOptions struct {
	MaxSamples  int           // points that an evaluation may hold; 0 means 50,000,000
	MaxBytes    int           // of an answer, about; 0 means 64 MiB
	Concurrency int           // evaluations at a time; 0 means 20
	Timeout     time.Duration // of an evaluation, its wait for others included; 0 means 2m
	Logger      *slog.Logger  // nil: none
}

// Answerer adds up for other nodes what this node has. It has slots of its own: queries that hold those of an engine wait for other
// nodes, which must not wait for these in turn.
type Answerer struct {
	evaluator
	o    AnswererOptions
	free chan struct{}
}

// NewAnswerer returns an answerer over what this node has, limited to the partitions of shard.Only.
func NewAnswerer(local Source, o AnswererOptions) *Answerer {
	if o.MaxSamples == 0 {
		o.MaxSamples = 50_000_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Concurrency == 0 {
		o.Concurrency = 20
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Answerer{evaluator: evaluator{source: local, log: o.Logger, hot: newHotChunks()}, o: o, free: make(chan struct{}, o.Concurrency)}
}

// Evaluate answers the request of another node's engine. That this node cannot add up what it has as the
// engine would is an answer too.
func (a *Answerer) Evaluate(ctx context.Context, request []byte) (answer []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.log.Error("panic during the evaluation for another node", "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("unexpected error: %v", p)
		}
	}()
	p, err := planFrom(request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.o.Timeout)
	defer cancel()
	select {
	case a.free <- struct{}{}:
		defer func() { <-a.free }()
	case <-ctx.Done():
		return nil, fmt.Errorf("evaluate for another node: %w", ctx.Err())
	}
	var many prom.ErrTooManySamples
	s, names, err := a.some(ctx, p, &budget{max: int64(a.o.MaxSamples)}, int64(a.o.MaxBytes/p.cellBytes()))
	switch {
	case errors.Is(err, errUnfit):
		return []byte{answerUnfit}, nil
	case errors.Is(err, errTogether):
		return []byte{answerTogether}, nil
	case errors.As(err, &many):
		return []byte{answerMany}, nil
	case err != nil:
		return nil, fmt.Errorf("evaluate for another node: %w", err)
	}
	return p.encode(s, names), nil
}
