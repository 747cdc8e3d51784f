package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// load is a remote_write load that notes what was acknowledged.
type load struct {
	shape  workload.Shape
	path   string // of the log
	log    *bench.AckedLog
	ended  chan struct{}
	report bench.LoadReport
	err    error
}

// startLoad writes until ctx ends: this many series, and this many samples a second.
func startLoad(ctx context.Context, t *testing.T, url string, series int, rate float64) *load {
	t.Helper()
	return startLoadOf(ctx, t, url, series, 1_000_000, rate)
}

// startLoadOf writes so many samples of each series, unless ctx ends before.
func startLoadOf(ctx context.Context, t *testing.T, url string, series, steps int, rate float64) *load {
	t.Helper()
	l := &load{path: filepath.Join(t.TempDir(), "acked"), ended: make(chan struct{})}
	l.shape = workload.Shape{Series: series, Samples: steps, Interval: 1000, Seed: 1, Values: workload.Unique}
	l.shape.Start = time.Now().UnixMilli() - int64(steps)*l.shape.Interval
	var err error
	if l.log, err = bench.CreateAckedLog(l.path, l.shape); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.ended)
		l.report, l.err = bench.Load(ctx, bench.LoadOptions{URL: url, Shape: l.shape, Batch: 1000, Rate: rate, Acked: l.log})
	}()
	return l
}

// check waits for the end of the load and looks for what was acknowledged.
func (l *load) check(t *testing.T, url string) {
	t.Helper()
	<-l.ended
	if l.err != nil && !errors.Is(l.err, context.Canceled) {
		t.Errorf("load: %v", l.err)
	}
	if err := l.log.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shape, acked, err := bench.ReadAcked(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := bench.Check(t.Context(), bench.CheckOptions{URL: url, Shape: trim(shape, acked), Acked: acked})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("load: %d samples acknowledged, %d read, %d retries", r.Acked, r.Read, l.report.Retries)
	if r.Acked == 0 {
		t.Error("nothing was acknowledged")
	}
	if err := r.Err(); err != nil {
		t.Error(err, r.Faults)
	}
}

// trim leaves out the steps that the load did not come to; one more may be there though it was not
// acknowledged.
func trim(s workload.Shape, acked []bench.Acked) workload.Shape {
	last := 0
	for _, a := range acked {
		last = max(last, a.Step)
	}
	s.Samples = min(s.Samples, last+2)
	return s
}
