package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// loadCommand holds the flags of `bench load`.
type loadCommand struct {
	url, protocol, values, start string
	shape                        workload.Shape
	interval, settle             time.Duration
	batch, connections           int
	rate                         float64
	acked                        string
	meter                        bench.Meter
	verify, json                 bool
}

// loadResult is what --json prints.
type loadResult struct {
	URL      string            `json:"url"`
	Protocol workload.Protocol `json:"protocol"`
	Shape    workload.Shape    `json:"shape"`
	End      int64             `json:"end_ms"`
	bench.LoadReport
	Cost    bench.Cost  `json:"cost"`
	Settled *bench.Cost `json:"settled,omitempty"` // the cost again, --settle later
	Counted *int64      `json:"counted,omitempty"` // samples that a query finds
}

func newBenchLoad() *cobra.Command {
	l := &loadCommand{}
	c := &cobra.Command{
		Use:   "load",
		Short: "Write samples by remote_write and report speed, CPU, memory and disk of the server",
		Long: `Write samples by remote_write and report speed, CPU, memory and disk of the server.

The load is a fleet of devices with ten sensors each; every series has six labels. All series are written
step by step, one sample each, as scrapers do. The same flags give the same samples, bit for bit.
A server that is away or overloaded is asked again until it acknowledges.`,
		Example: `  minitruectl bench load --url http://127.0.0.1:8080 --series 100000 --samples 240 --pid 1234 --data-dir ./data
  minitruectl bench load --url http://127.0.0.1:8080 --series 1000000 --samples 10 --protocol 2.0`,
		Args: cobra.NoArgs,
		RunE: l.run,
	}
	f := c.Flags()
	f.StringVar(&l.url, "url", "http://127.0.0.1:8080", "of the server, or of its remote_write door; without a path it is /api/v1/write")
	f.StringVar(&l.protocol, "protocol", string(workload.V1), "version of remote_write: 1.0 or 2.0")
	f.IntVar(&l.shape.Series, "series", 100_000, "how many series")
	f.IntVar(&l.shape.Samples, "samples", 240, "samples of each series")
	f.DurationVar(&l.interval, "interval", 10*time.Second, "time between two samples of a series, by their timestamps")
	f.StringVar(&l.start, "start", "", "time of the first sample, RFC 3339; empty means that the last one is a minute old")
	f.Uint64Var(&l.shape.Seed, "seed", 1, "of the values")
	f.StringVar(&l.values, "values", string(workload.Walk), "walk (decimal random walks) or unique (every sample another whole number)")
	f.IntVar(&l.batch, "batch", 2000, "samples a request")
	f.IntVar(&l.connections, "connections", 4, "requests at the same time")
	f.Float64Var(&l.rate, "rate", 0, "samples a second at most; 0 means no limit")
	f.StringVar(&l.acked, "acked-log", "", "file in which to note what was acknowledged, for \"bench check\"")
	f.IntVar(&l.meter.PID, "pid", 0, "process id of the server, to measure its CPU and memory")
	f.StringVar(&l.meter.DataDir, "data-dir", "", "data folder of the server, to measure its size")
	f.DurationVar(&l.settle, "settle", 0, "wait so long after the load and measure the server again")
	f.BoolVar(&l.verify, "verify", false, "count by PromQL what the server has, and fail if it is another number")
	f.BoolVar(&l.json, "json", false, "print the report as JSON")
	return c
}

// complete fills in the shape.
func (l *loadCommand) complete(now time.Time) error {
	s := &l.shape
	s.Interval, s.Values = l.interval.Milliseconds(), workload.Values(l.values)
	if err := s.Check(); err != nil {
		return err
	}
	if l.start != "" {
		t, err := time.Parse(time.RFC3339, l.start)
		if err != nil {
			return fmt.Errorf("--start: %w", err)
		}
		s.Start = t.UnixMilli()
		return nil
	}
	end := now.Add(-time.Minute).UnixMilli()
	s.Start = end - end%s.Interval - int64(s.Samples-1)*s.Interval
	return nil
}

func (l *loadCommand) run(c *cobra.Command, _ []string) error {
	if err := l.complete(time.Now()); err != nil {
		return err
	}
	o := bench.LoadOptions{URL: l.url, Shape: l.shape, Protocol: workload.Protocol(l.protocol), Batch: l.batch, Connections: l.connections, Rate: l.rate}
	if l.acked != "" {
		log, err := bench.CreateAckedLog(l.acked, l.shape)
		if err != nil {
			return err
		}
		defer log.Close()
		o.Acked = log
	}
	if err := l.meter.Start(); err != nil {
		return err
	}
	r := loadResult{URL: l.url, Protocol: o.Protocol, Shape: l.shape, End: l.shape.End()}
	var err, costErr error
	if r.LoadReport, err = bench.Load(c.Context(), o); r.Samples == 0 && err != nil {
		return err
	}
	r.Cost, costErr = l.meter.Stop(r.Samples)
	if err == nil {
		err = l.after(c.Context(), &r)
	}
	if l.json {
		return errors.Join(err, costErr, printJSON(c.OutOrStdout(), r))
	}
	t := newTable(c.OutOrStdout())
	r.print(t)
	return errors.Join(err, costErr, t.flush())
}

// after measures and counts again what can be only after a load.
func (l *loadCommand) after(ctx context.Context, r *loadResult) error {
	if l.settle > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(l.settle):
		}
		cost, err := l.meter.Stop(r.Samples)
		if err != nil {
			return err
		}
		r.Settled = &cost
	}
	if !l.verify {
		return nil
	}
	base, err := baseURL(l.url)
	if err != nil {
		return err
	}
	n, err := bench.Count(ctx, base, l.shape)
	if err != nil {
		return err
	}
	r.Counted = &n
	if n != l.shape.Total() {
		return fmt.Errorf("the server has %d samples of this load, %d were acknowledged", n, l.shape.Total())
	}
	return nil
}

func (r loadResult) print(t table) {
	t.row("load", "%d series × %d samples, remote_write %s", r.Shape.Series, r.Shape.Samples, r.Protocol)
	t.row("times", "%s to %s", stamp(r.Shape.Start), stamp(r.End))
	t.row("acknowledged", "%d samples in %d requests, %d attempts repeated", r.Samples, r.Requests, r.Retries)
	t.row("wall time", "%.2f s, %.0f samples a second", r.Seconds, r.SamplesPerSecond)
	t.row("generator CPU", "%.2f s", r.GeneratorCPU)
	t.latency("request", r.Latency)
	t.cost(r.Cost, "samples")
	if r.Settled != nil {
		t.row("settled", "")
		t.cost(*r.Settled, "samples")
	}
	if r.Counted != nil {
		t.row("counted", "%d samples by PromQL", *r.Counted)
	}
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
