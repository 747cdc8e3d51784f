package replicate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/hint"
)

// Replicator stores batches and sends them to other clusters. Its methods may be called from many goroutines.
type Replicator struct {
	o        Options
	next     Appender
	targets  []*target
	received prometheus.Counter
}

// New opens the queues in a folder, which is made when there are targets and it is not there. Nothing is sent before Run.
func New(dir string, next Appender, o Options) (*Replicator, error) {
	r := &Replicator{o: o.withDefaults(), next: next}
	r.received = promauto.With(o.Registerer).NewCounter(prometheus.CounterOpts{
		Name: "minitrue_replicate_received_batches_total",
		Help: "Batches that came from other clusters, which are stored and not sent on.",
	})
	known := map[string]bool{}
	for _, url := range r.o.Targets {
		name := folder(url)
		if known[name] {
			return nil, errors.Join(fmt.Errorf("replicate to %s: it is there twice", url), r.Close())
		}
		known[name] = true
		t, err := newTarget(&r.o, filepath.Join(dir, name), url)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("replicate to %s: %w", url, err), r.Close())
		}
		r.targets = append(r.targets, t)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("replicate: %w", err), r.Close())
	}
	for _, e := range entries {
		if !known[e.Name()] {
			r.o.Logger.Warn("a queue is left of a target to which nothing is replicated any more: name it again, or remove the folder", "path", filepath.Join(dir, e.Name()))
		}
	}
	return r, nil
}

// Append stores a batch, and keeps what was stored of it for every target unless it came from another cluster. When it returns nil, both are durable.
// [series.ErrUnavailable] means that it may be stored here, but is not sure to be sent: try again later.
func (r *Replicator) Append(ctx context.Context, b *series.Batch) error {
	if err := r.next.Append(ctx, b); err != nil {
		return err
	}
	if isMarked(ctx) {
		r.received.Inc()
		return nil
	}
	if len(r.targets) == 0 {
		return nil
	}
	return r.o.Encode(b, r.keep)
}

var bodies = sync.Pool{New: func() any { return new([]byte) }}

const maxPooled = 4 << 20

// keep puts a message into all queues.
func (r *Replicator) keep(message []byte) error {
	buf := bodies.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= maxPooled {
			bodies.Put(buf)
		}
	}()
	if n := s2.MaxEncodedLen(len(message)); cap(*buf) < n {
		*buf = make([]byte, n)
	}
	h := hint.Hint{Time: r.o.Now().UnixMilli(), Body: s2.EncodeSnappy((*buf)[:cap(*buf)], message)}
	if len(r.targets) == 1 {
		return r.targets[0].keep(h, message)
	}
	var g errgroup.Group // their disks sync at the same time
	for _, t := range r.targets {
		g.Go(func() error { return t.keep(h, message) })
	}
	return g.Wait()
}

// Run sends what is in the queues until ctx ends.
func (r *Replicator) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range r.targets {
		g.Go(func() error { return t.queue.Run(ctx) })
		g.Go(func() error { return t.follow(ctx) })
		g.Go(func() error { return t.watch(ctx) })
	}
	return g.Wait()
}

// Close closes the queues, after Run has returned. What is in them is sent by the next process.
func (r *Replicator) Close() error {
	var errs []error
	for _, t := range r.targets {
		t.client.CloseIdleConnections()
		errs = append(errs, t.queue.Close())
	}
	return errors.Join(errs...)
}
