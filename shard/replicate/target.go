package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/hint"
)

// queueName is the one queue in a target's folder.
const queueName = "queue"

// target is another cluster, and what waits for it.
type target struct {
	o      *Options
	url    string
	client *http.Client
	queue  *hint.Store
	log    *slog.Logger
	m      targetMetrics
	wake   chan struct{} // has one element when something may be new in the queue
	oldest atomic.Int64  // when what is being sent was accepted, Unix ms; 0: nothing is
	parts  []part        // of the round
	lanes  [lanes]lane

	gap    gap
	down   outage
	said   sync.Mutex // guards lastNo
	lastNo time.Time  // when a refusal was logged
}

func newTarget(o *Options, dir, url string) (t *target, err error) {
	t = &target{o: o, url: url, client: newClient(o), log: o.Logger.With("target", url), wake: make(chan struct{}, 1)}
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"target": url}, o.Registerer)
	t.queue, err = hint.Open(dir, hint.Options{
		MaxBytes: o.MaxBytes, MaxAge: math.MaxInt64, Commit: o.Interval == 0, Interval: o.Interval, Tail: true,
		Missing: "what was in them is stored here and not there", Subsystem: "replicate",
		FS: o.FS, Now: o.Now, Logger: t.log, Registerer: reg,
	})
	if err != nil {
		return nil, err
	}
	t.m = newTargetMetrics(reg, func() float64 { return float64(t.queue.Pending(queueName)) }, t.lag)
	return t, nil
}

// lag is how many seconds ago the oldest was accepted that is still to be sent.
func (t *target) lag() float64 {
	oldest := t.oldest.Load()
	if oldest == 0 {
		return 0
	}
	return max(0, t.o.Now().Sub(time.UnixMilli(oldest)).Seconds())
}

// keep puts a message into the queue. That there is no room is no error: it is counted.
func (t *target) keep(h hint.Hint, message []byte) error {
	err := t.queue.Append(queueName, h)
	switch {
	case errors.Is(err, hint.ErrFull):
		c := countsOf(message)
		t.m.dropped.Add(float64(c.samples + c.histograms))
		t.gap.widen(t, h.Time, c.samples+c.histograms)
		return nil
	case err != nil:
		return fmt.Errorf("keep a write for %s: %w: %w", t.url, series.ErrUnavailable, err)
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return nil
}

const (
	roundBytes = 1 << 20 // compressed, of a round; a message may be more
	lookAgain  = time.Second
	sayAgain   = time.Minute // how often what goes on is logged
)

// follow sends what is in the queue, and what comes into it, until ctx ends.
func (t *target) follow(ctx context.Context) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if err := t.queue.ReplayTogether(ctx, queueName, roundBytes, t.round); err != nil && ctx.Err() == nil {
			t.log.Error("the queue to another cluster cannot be read; it is tried again", "err", err)
		} else {
			t.oldest.Store(0)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-tick.C:
		}
	}
}

// watch says from time to time what there was no room for, until ctx ends.
func (t *target) watch(ctx context.Context) error {
	tick := time.NewTicker(sayAgain / 6)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.gap.say(t, true)
			return nil
		case <-tick.C:
			t.gap.say(t, false)
		}
	}
}

// gap is what the queue had no room for and the log does not say yet.
type gap struct {
	mu       sync.Mutex // guards the fields below
	from, to int64      // Unix ms
	samples  int
	said     time.Time
}

func (g *gap) widen(t *target, at int64, samples int) {
	g.mu.Lock()
	if g.samples == 0 {
		g.from = at
	}
	g.to = max(g.to, at)
	g.samples += samples
	g.mu.Unlock()
	g.say(t, false)
}

// say logs a gap, once a minute or now.
func (g *gap) say(t *target, now bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at := t.o.Now(); g.samples > 0 && (now || at.Sub(g.said) >= sayAgain) {
		t.log.Error("the queue to another cluster is full: what was accepted in this time is stored here and will be missing there, unless it is copied by minitruectl export and import",
			"samples", g.samples, "from", time.UnixMilli(g.from), "to", time.UnixMilli(g.to), "max_bytes", t.o.MaxBytes)
		g.said, g.samples, g.to = at, 0, 0
	}
}

// outage is a time in which the target takes nothing.
type outage struct {
	mu          sync.Mutex // guards the fields below
	since, said time.Time  // zero: there is none
}

// begin notes a failure, and logs it when it is the first, or a minute later.
func (w *outage) begin(t *target, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := t.o.Now()
	if w.since.IsZero() {
		w.since = now
	} else if now.Sub(w.said) < sayAgain {
		return
	}
	w.said = now
	t.log.Warn("another cluster takes nothing; what it misses waits on disk", "since", w.since, "pending_bytes", t.queue.Pending(queueName), "err", err)
}

func (w *outage) end(t *target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return
	}
	t.log.Info("another cluster takes writes again", "duration", t.o.Now().Sub(w.since), "pending_bytes", t.queue.Pending(queueName))
	w.since = time.Time{}
}
