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

// LoadOptions say what to write, and where.
type LoadOptions struct {
	URL         string            // of the server, or its whole remote_write URL
	Shape       workload.Shape    //
	Protocol    workload.Protocol // "" means 1.0
	Batch       int               // samples a request, each of another series; 0 means 2000
	Connections int               // 0 means 4
	Rate        float64           // samples a second over all connections; 0 means as fast as it goes
	Acked       *AckedLog         // nil means none
}

// LoadReport is what a load did and how fast.
type LoadReport struct {
	Samples          int64   `json:"samples"` // acknowledged
	Requests         int64   `json:"requests"`
	Retries          int64   `json:"retries"`
	Seconds          float64 `json:"wall_seconds"`
	SamplesPerSecond float64 `json:"samples_per_second"`
	GeneratorCPU     float64 `json:"generator_cpu_seconds"` // this program's own
	Latency          Latency `json:"latency"`               // of requests, retries included
}

// loader is a load on its way.
type loader struct {
	LoadOptions
	poster
	samples, requests, retries atomic.Int64
	started                    time.Time
}

// Load writes the whole shape, time step by time step, as a fleet of scrapers would: each
// series keeps to one connection, so its samples arrive in order. It returns when everything is
// acknowledged, the context ends, or the server refuses something for good; the report is of what
// was done until then.
func Load(ctx context.Context, o LoadOptions) (LoadReport, error) {
	if o.Protocol == "" {
		o.Protocol = workload.V1
	}
	if o.Batch == 0 {
		o.Batch = 2000
	}
	if o.Connections == 0 {
		o.Connections = 4
	}
	if o.Batch < 0 || o.Connections < 0 || o.Rate < 0 {
		return LoadReport{}, fmt.Errorf("load: batch %d, connections %d, rate %g: none can be negative", o.Batch, o.Connections, o.Rate)
	}
	if err := o.Shape.Check(); err != nil {
		return LoadReport{}, fmt.Errorf("load: %w", err)
	}
	target, err := Endpoint(o.URL, "/api/v1/write")
	if err != nil {
		return LoadReport{}, fmt.Errorf("load: %w", err)
	}
	lanes, err := lanes(o)
	if err != nil {
		return LoadReport{}, fmt.Errorf("load: %w", err)
	}
	l := &loader{LoadOptions: o, poster: poster{newClient(o.Connections), target, o.Protocol}, started: time.Now()}
	defer l.client.CloseIdleConnections()
	return l.run(ctx, lanes)
}

// lanes deals the batches out to the connections.
func lanes(o LoadOptions) ([][]*workload.Batch, error) {
	lanes := make([][]*workload.Batch, o.Connections)
	for n, first := 0, 0; first < o.Shape.Series; n, first = n+1, first+o.Batch {
		b, err := o.Shape.NewBatch(o.Protocol, first, min(first+o.Batch, o.Shape.Series))
		if err != nil {
			return nil, err
		}
		lanes[n%o.Connections] = append(lanes[n%o.Connections], b)
	}
	return lanes, nil
}

func (l *loader) run(ctx context.Context, lanes [][]*workload.Batch) (LoadReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cpu := ownCPU()
	took := make([][]time.Duration, len(lanes))
	errs := make([]error, len(lanes))
	var wg sync.WaitGroup
	for i, batches := range lanes {
		wg.Go(func() {
			if took[i], errs[i] = l.lane(ctx, batches); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
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

// lane is the work of one connection.
func (l *loader) lane(ctx context.Context, batches []*workload.Batch) (took []time.Duration, err error) {
	var body, packed []byte
	for step := range l.Shape.Samples {
		for _, b := range batches {
			body = b.Append(body[:0])
			if n := s2.MaxEncodedLen(len(body)); cap(packed) < n {
				packed = make([]byte, n)
			}
			packed = s2.EncodeSnappy(packed[:cap(packed)], body)
			if err := l.pace(ctx); err != nil {
				return took, err
			}
			begin := time.Now()
			retries, err := l.post(ctx, packed, b.Len())
			l.retries.Add(int64(retries))
			if err != nil {
				return took, fmt.Errorf("write series %d to %d at step %d: %w", b.First, b.Last-1, step, err)
			}
			took = append(took, time.Since(begin))
			l.requests.Add(1)
			l.samples.Add(int64(b.Len()))
			if err := l.Acked.Add(Acked{b.First, b.Last, step}); err != nil {
				return took, err
			}
		}
	}
	return took, nil
}

// pace waits until the load is no further than its rate allows.
func (l *loader) pace(ctx context.Context) error {
	if l.Rate == 0 {
		return ctx.Err()
	}
	due := l.started.Add(time.Duration(float64(l.samples.Load()) / l.Rate * float64(time.Second)))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(due)):
		return nil
	}
}
