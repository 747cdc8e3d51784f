package bench

import (
	"context"
	"fmt"

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
	Progress    func(samples int64)
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

// Add adds what another load did afterwards. Its latencies are left out.
func (r *LoadReport) Add(o LoadReport) {
	r.Samples, r.Requests, r.Retries = r.Samples+o.Samples, r.Requests+o.Requests, r.Retries+o.Retries
	r.Seconds, r.GeneratorCPU = r.Seconds+o.Seconds, r.GeneratorCPU+o.GeneratorCPU
	r.SamplesPerSecond = float64(r.Samples) / max(r.Seconds, 1e-9)
}

// Load writes the whole shape, time step by time step, as a fleet of scrapers would: each
// series keeps to one connection, so its samples arrive in order. It returns when everything is
// acknowledged, the context ends, or the server refuses something for good; the report is of what
// was done until then.
func Load(ctx context.Context, o LoadOptions) (LoadReport, error) {
	if err := o.Shape.Check(); err != nil {
		return LoadReport{}, fmt.Errorf("load: %w", err)
	}
	l, err := NewLoader(o)
	if err != nil {
		return LoadReport{}, err
	}
	defer l.Close()
	batches, err := l.batches()
	if err != nil {
		return LoadReport{}, fmt.Errorf("load: %w", err)
	}
	return l.Write(ctx, batches, o.Shape.Samples, 1)
}

// batches cuts the shape into runs of series.
func (l *Loader) batches() (all []*workload.Batch, err error) {
	for first := 0; first < l.o.Shape.Series; first += l.o.Batch {
		b, err := l.o.Shape.NewBatch(l.o.Protocol, first, min(first+l.o.Batch, l.o.Shape.Series))
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}
