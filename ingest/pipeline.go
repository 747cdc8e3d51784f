package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/series"
)

// Appender stores batches. A batch is durable when Append returns nil, but for
// what is marked in b.Rejected. [series.ErrUnavailable] and
// [series.ErrOverload] mean: try again later.
type Appender interface {
	Append(ctx context.Context, b *series.Batch) error
}

// Options of a pipeline. The zero value is usable.
type Options struct {
	MaxFuture  time.Duration         // how far a sample may be ahead of the clock; 0 means 1h
	Retention  time.Duration         // older samples are refused; 0 means that no sample is too old
	MaxSamples int                   // samples under way at once; 0 means 2,000,000
	MaxWaiting int                   // batches that may wait for room; 0 means 1,000
	Tap        *Tap                  // is offered what was accepted; nil means nobody listens
	Now        func() time.Time      // nil means time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
}

func (o Options) withDefaults() Options {
	if o.MaxFuture == 0 {
		o.MaxFuture = time.Hour
	}
	if o.MaxSamples == 0 {
		o.MaxSamples = 2_000_000
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Pipeline checks, limits and counts batches on their way to the next appender.
type Pipeline struct {
	next    Appender
	o       Options
	gate    *gate
	metrics *metrics
	other   *Door
}

// NewPipeline returns a pipeline in front of next.
func NewPipeline(next Appender, o Options) *Pipeline {
	o = o.withDefaults()
	p := &Pipeline{next: next, o: o, gate: newGate(o.MaxSamples, o.MaxWaiting)}
	p.metrics = newMetrics(o.Registerer, p.gate)
	p.other = p.Door("other")
	return p
}

// Append stores a batch that came through no door of its own; see [Door.Append].
func (p *Pipeline) Append(ctx context.Context, b *series.Batch) error { return p.other.Append(ctx, b) }

// Door returns the pipeline's entrance for one kind of sender. Its name is a
// label of the metrics: "remote_write", "mqtt".
func (p *Pipeline) Door(name string) *Door { return &Door{p: p, m: p.metrics.door(name)} }

// Door is an entrance of a pipeline. It counts what passes.
type Door struct {
	p *Pipeline
	m doorMetrics
}

// Append stores the batch. It leaves out samples, histograms and exemplars with
// impossible times and marks them in b.Rejected, and waits while too much is under
// way. When it fails nothing may be taken for stored, and the same batch can be given again.
func (d *Door) Append(ctx context.Context, b *series.Batch) error {
	p := d.p
	start := p.o.Now()
	weight := len(b.Samples) + len(b.Histograms) + len(b.Exemplars)
	if err := p.gate.enter(ctx, weight); err != nil {
		d.m.failed(err)
		return err
	}
	defer p.gate.leave(weight)

	p.limits(start).apply(b)
	n, before := samplesOf(b), b.Rejected.Samples+b.Rejected.Histograms
	if err := p.next.Append(ctx, b); err != nil {
		d.m.failed(err)
		return err
	}
	n -= b.Rejected.Samples + b.Rejected.Histograms - before
	d.m.stored(n, p.o.Now().Sub(start))
	for reason, n := range b.Rejected.Reasons {
		d.m.rejected(reason, n)
	}
	p.o.Tap.offer(b)
	return nil
}

// samplesOf counts the floats and histograms of the series that are not rejected.
func samplesOf(b *series.Batch) int {
	if !b.Rejected.Any() {
		return len(b.Samples) + len(b.Histograms)
	}
	n := 0
	for i := range b.Series {
		if !b.Series[i].Bad {
			n += b.Series[i].Count
		}
	}
	for i := range b.Histograms {
		if !b.Series[b.Histograms[i].Series].Bad {
			n++
		}
	}
	return n
}

// outcome names an error of Append for a metric.
func outcome(err error) string {
	switch {
	case errors.Is(err, series.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, series.ErrOverload):
		return "overload"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "canceled"
	}
	return "error"
}
