package contest

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// before is how long a load runs before something happens to the cluster that it is compared with.
func (t *trial) before() time.Duration { return min(20*time.Second, t.o.Sizes.Away) }

// joinRequests is how many writes a second there are while a node joins: so many that a p99, before and meanwhile, does not hang on two
// or three of them.
const joinRequests = 25

// joinCluster lets a fourth node join three that have data and go on getting more.
func joinCluster(ctx context.Context, t *trial) error {
	if err := t.begin(ctx, 3); err != nil {
		return err
	}
	s, batches, err := t.whole()
	if err != nil {
		return err
	}
	if _, err := t.write(ctx, batches, s.Samples-1, 1); err != nil {
		return err
	}
	l, err := t.steadily(ctx, joinRequests)
	if err != nil {
		return err
	}
	defer l.stop()
	if err := sleep(ctx, t.before()); err != nil { // what was written at full speed is still being flushed
		return err
	}
	l.latency()
	if err := sleep(ctx, 2*t.before()); err != nil {
		return err
	}
	quiet, quietWrites := l.latency()
	began := time.Now()
	if err := t.grow(ctx); err != nil {
		return err
	}
	if err := t.untilActive(ctx, 4); err != nil {
		return err
	}
	took := time.Since(began)
	busy, busyWrites := l.latency()
	written, err := l.end()
	if err != nil {
		return err
	}
	copied, err := t.sum(ctx, "minitrue_repair_samples_total")
	if err != nil {
		return err
	}
	size := s.Total() - int64(s.Series) + written
	part := copied / float64(3*size)
	t.raw("join", map[string]any{"seconds": took.Seconds(), "copied_samples": copied, "samples": size, "before": quiet, "before_writes": quietWrites, "while": busy, "while_writes": busyWrites})
	t.logf("the fourth node was active after %v; it copied %s samples", took.Round(100*time.Millisecond), group(int64(copied)))
	t.record(Figure{ID: "join.seconds", Name: fmt.Sprintf("a fourth node joins three with %s samples under load", group(size)), Unit: Seconds}, took.Seconds())
	t.record(Figure{ID: "join.moved", Name: "part of all copies that moves", Unit: Count}, part)
	t.record(Figure{ID: "join.off", Name: "how far that is from a quarter", Unit: Count, Goal: AtMost(0.05)}, math.Abs(part-0.25))
	t.record(Figure{ID: "join.p99", Name: "p99 of writes before", Unit: Millis}, quiet.P99)
	t.record(Figure{ID: "join.p99.while", Name: "p99 of writes while it joins", Unit: Millis, Goal: AtMost(2 * quiet.P99)}, busy.P99)
	return nil
}

// steady is a load that goes on at a rate.
type steady struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex // guards what follows
	took    []time.Duration
	samples int64
	err     error
}

// steadily writes to the first node, so many times a second, a sample of each of some series at a time, from now on.
func (t *trial) steadily(ctx context.Context, requests int) (*steady, error) {
	size := max(1, int(t.o.Sizes.Rate)/requests)
	s := workload.Shape{Series: size, Samples: 1 << 20, Interval: int64(1000 / requests), Seed: seed + 1, Values: workload.Walk, Start: time.Now().UnixMilli()}
	batch, err := s.NewBatch(workload.V1, 0, size)
	if err != nil {
		return nil, err
	}
	l, err := t.loader(t.nodes[0], t.o.Sizes.Rate)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	run := &steady{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(run.done)
		defer l.Close()
		run.write(ctx, l, batch, requests)
	}()
	return run, nil
}

// write writes so many times a second. When a write takes so long that the next is late, that counts as its time, too: who waits for it has
// the samples since then.
func (l *steady) write(ctx context.Context, to *bench.Loader, batch *workload.Batch, requests int) {
	every := time.Second / time.Duration(requests)
	for due := time.Now(); ctx.Err() == nil; due = due.Add(every) {
		late := max(0, time.Since(due))
		if late == 0 && sleep(ctx, time.Until(due)) != nil {
			return
		}
		r, err := to.Write(ctx, []*workload.Batch{batch}, 1, 1)
		l.mu.Lock()
		l.samples += r.Samples
		if err != nil {
			if ctx.Err() == nil {
				l.err = err
			}
			l.mu.Unlock()
			return
		}
		l.took = append(l.took, late+time.Duration(r.Latency.Max*float64(time.Millisecond)))
		l.mu.Unlock()
	}
}

// latency sums up the requests since it was last called, and counts them.
func (l *steady) latency() (_ bench.Latency, writes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	return bench.Summarize(took), len(took)
}

func (l *steady) stop() {
	l.cancel()
	<-l.done
}

// end stops the load, and returns how many samples were acknowledged.
func (l *steady) end() (samples int64, err error) {
	l.stop()
	return l.samples, l.err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
