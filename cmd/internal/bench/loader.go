package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// Loader writes batches. One [Loader.Write] runs at a time.
type Loader struct {
	o                          LoadOptions
	poster                     poster
	samples, requests, retries atomic.Int64 // of one Write
	started                    time.Time
	before                     int64     // samples of earlier ones
	told                       time.Time // when progress was
}

const progressEvery = 5 * time.Second

// NewLoader returns a loader for the options' server; their shape counts in [Load] only.
func NewLoader(o LoadOptions) (*Loader, error) {
	o.Protocol = cmp.Or(o.Protocol, workload.V1)
	o.Batch = cmp.Or(o.Batch, 2000)
	o.Connections = cmp.Or(o.Connections, 4)
	if o.Batch < 0 || o.Connections < 0 || o.Rate < 0 {
		return nil, fmt.Errorf("load: batch %d, connections %d, rate %g: none can be negative", o.Batch, o.Connections, o.Rate)
	}
	target, err := Endpoint(o.URL, "/api/v1/write")
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return &Loader{o: o, poster: poster{newClient(o.Connections), target, o.Protocol}}, nil
}

// Close closes the connections.
func (l *Loader) Close() { l.poster.client.CloseIdleConnections() }

// Write writes the next steps of every batch, so many of them in a request, and reports. A batch
// keeps to one connection.
func (l *Loader) Write(ctx context.Context, batches []*workload.Batch, steps, each int) (LoadReport, error) {
	lanes := make([][]*workload.Batch, l.o.Connections)
	for i, b := range batches {
		lanes[i%len(lanes)] = append(lanes[i%len(lanes)], b)
	}
	return l.run(ctx, func(ctx context.Context, lane int) ([]time.Duration, error) {
		return l.lane(ctx, lanes[lane], steps, each)
	})
}

// Post writes bodies that a function makes, one after the other on one connection. The function appends a body
// to dst and says how many samples it has; none is the end.
func (l *Loader) Post(ctx context.Context, next func(dst []byte) (body []byte, samples int)) (LoadReport, error) {
	return l.run(ctx, func(ctx context.Context, lane int) (took []time.Duration, err error) {
		if lane > 0 {
			return nil, nil
		}
		var s sender
		for {
			body, samples := next(s.body[:0])
			if samples == 0 {
				return s.took, nil
			}
			s.body = body
			if n := s2.MaxEncodedLen(len(body)); cap(s.packed) < n {
				s.packed = make([]byte, n)
			}
			if err := l.send(ctx, &s, s2.EncodeSnappy(s.packed[:cap(s.packed)], body), samples); err != nil {
				return s.took, err
			}
		}
	})
}

// run runs a function for every connection and reports what they did.
func (l *Loader) run(ctx context.Context, lane func(ctx context.Context, lane int) ([]time.Duration, error)) (LoadReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.before += l.samples.Swap(0)
	l.requests.Store(0)
	l.retries.Store(0)
	l.started = time.Now()
	cpu := ownCPU()
	took := make([][]time.Duration, l.o.Connections)
	errs := make([]error, l.o.Connections)
	var wg sync.WaitGroup
	for i := range l.o.Connections {
		wg.Go(func() {
			if took[i], errs[i] = lane(ctx, i); errs[i] != nil {
				cancel()
			}
		})
	}
	l.watch(&wg)
	seconds := time.Since(l.started).Seconds()
	var all []time.Duration
	for _, t := range took {
		all = append(all, t...)
	}
	r := LoadReport{
		Samples: l.samples.Load(), Requests: l.requests.Load(), Retries: l.retries.Load(),
		Seconds: seconds, SamplesPerSecond: float64(l.samples.Load()) / seconds,
		GeneratorCPU: (ownCPU() - cpu).Seconds(), Latency: summarize(all),
	}
	return r, firstCause(errs)
}

// watch tells how far the load is, of all that this loader wrote, until it has ended.
func (l *Loader) watch(wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	if l.told.IsZero() {
		l.told = l.started
	}
	for {
		select {
		case <-done:
			return
		case <-time.After(time.Until(l.told.Add(progressEvery))):
			l.told = time.Now()
			if l.o.Progress != nil {
				l.o.Progress(l.before + l.samples.Load())
			}
		}
	}
}

// firstCause prefers the error that stopped the others to those that it caused.
func firstCause(errs []error) error {
	var stopped error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		stopped = cmp.Or(stopped, err)
	}
	return stopped
}

// sender is what one connection needs again and again.
type sender struct {
	body, packed []byte
	took         []time.Duration
}

// lane is the work of one connection.
func (l *Loader) lane(ctx context.Context, batches []*workload.Batch, steps, each int) ([]time.Duration, error) {
	var s sender
	for step := 0; step < steps; step += each {
		n := min(each, steps-step)
		for _, b := range batches {
			first := b.Step()
			if err := l.send(ctx, &s, b.Packed(n), n*b.Len()); err != nil {
				return s.took, fmt.Errorf("write series %d to %d at step %d: %w", b.First, b.Last-1, first, err)
			}
			for i := range n {
				if err := l.o.Acked.Add(Acked{b.First, b.Last, first + i}); err != nil {
					return s.took, err
				}
			}
		}
	}
	return s.took, nil
}

// send returns when a body is acknowledged.
func (l *Loader) send(ctx context.Context, s *sender, packed []byte, samples int) error {
	if err := l.pace(ctx); err != nil {
		return err
	}
	begin := time.Now()
	retries, err := l.poster.post(ctx, packed, samples)
	l.retries.Add(int64(retries))
	if err != nil {
		return err
	}
	s.took = append(s.took, time.Since(begin))
	l.requests.Add(1)
	l.samples.Add(int64(samples))
	return nil
}

// pace waits until the load is no further than its rate allows.
func (l *Loader) pace(ctx context.Context) error {
	if l.o.Rate == 0 {
		return ctx.Err()
	}
	due := l.started.Add(time.Duration(float64(l.samples.Load()) / l.o.Rate * float64(time.Second)))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(due)):
		return nil
	}
}
