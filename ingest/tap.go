package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql/cost"
)

// TapOptions of a tap. The zero value is usable.
type TapOptions struct {
	MaxReaders     int                   // readers at once; 0 means 100
	Queue          int                   // samples that may wait for one reader; 0 means 4,096
	WriteTimeout   time.Duration         // for one message to a reader; 0 means 10s
	PingEvery      time.Duration         // 0 means 30s
	OriginPatterns []string              // other origins whose pages may read; the request's host always may
	Logger         *slog.Logger          // nil discards
	Registerer     prometheus.Registerer // nil: the metrics count unseen
}

func (o TapOptions) withDefaults() TapOptions {
	if o.MaxReaders == 0 {
		o.MaxReaders = 100
	}
	if o.Queue == 0 {
		o.Queue = 4096
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.PingEvery == 0 {
		o.PingEvery = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Tap streams accepted float samples to WebSocket readers, GET /ws. It never holds up a
// write: what a slow reader has no room for is dropped, counted, and the reader is
// told. The nil tap has no readers.
type Tap struct {
	o       TapOptions
	parser  parser.Parser
	dropped prometheus.Counter
	sent    prometheus.Counter

	readers atomic.Pointer[[]*reader] // replaced as a whole; nil when there are none

	mu     sync.Mutex // guards changes of readers, and closed
	closed bool
	done   chan struct{}  // closed by Run when it ends
	serve  sync.WaitGroup // requests being served
}

// NewTap returns a tap without readers.
func NewTap(o TapOptions) *Tap {
	f := promauto.With(o.Registerer)
	t := &Tap{o: o.withDefaults(), parser: parser.NewParser(parser.Options{}), done: make(chan struct{})}
	t.dropped = f.NewCounter(prometheus.CounterOpts{
		Name: "minitrue_ingest_tap_dropped_samples_total",
		Help: "Samples that slow readers of /ws did not get.",
	})
	t.sent = f.NewCounter(prometheus.CounterOpts{
		Name: "minitrue_ingest_tap_sent_samples_total",
		Help: "Samples sent to readers of /ws.",
	})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_ingest_tap_readers",
		Help: "Readers of /ws.",
	}, func() float64 { return float64(len(t.current())) })
	return t
}

// Run blocks until ctx is done, then says goodbye to the readers and waits for them. After
// that the tap takes no reader any more.
func (t *Tap) Run(ctx context.Context) error {
	<-ctx.Done()
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.done)
	}
	t.mu.Unlock()
	t.serve.Wait()
	return nil
}

func (t *Tap) current() []*reader {
	if rs := t.readers.Load(); rs != nil {
		return *rs
	}
	return nil
}

// offer queues a committed batch's samples for who wants them. Without readers it is one atomic load.
func (t *Tap) offer(b *series.Batch) {
	if t == nil {
		return
	}
	rs := t.current()
	if len(rs) == 0 {
		return
	}
	var ls []labels.Label // of the entry at hand, aliasing its key
	for i := range b.Series {
		e := &b.Series[i]
		if e.Bad || e.Count == 0 {
			continue
		}
		ls = ls[:0]
		if series.EachLabel(e.Key, func(n, v string) { ls = append(ls, labels.Label{Name: n, Value: v}) }) != nil {
			continue
		}
		var key []byte // one copy for all readers
		for _, r := range rs {
			if !r.wants(ls) {
				continue
			}
			if key == nil {
				key = append([]byte(nil), e.Key...)
			}
			for _, s := range b.Samples[e.First : e.First+e.Count] {
				r.put(tapped{key, s})
			}
		}
	}
}

var (
	errTapClosed = errors.New("the server is shutting down")
	errTapFull   = errors.New("too many readers")
)

func (t *Tap) add(r *reader) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.current()
	switch {
	case t.closed:
		return errTapClosed
	case len(old) >= t.o.MaxReaders:
		return fmt.Errorf("%w: %d are allowed", errTapFull, t.o.MaxReaders)
	}
	rs := append(append(make([]*reader, 0, len(old)+1), old...), r)
	t.readers.Store(&rs)
	t.serve.Add(1)
	return nil
}

func (t *Tap) remove(r *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.serve.Done()
	old := t.current()
	rs := make([]*reader, 0, len(old))
	for _, o := range old {
		if o != r {
			rs = append(rs, o)
		}
	}
	if len(rs) == 0 {
		t.readers.Store(nil)
		return
	}
	t.readers.Store(&rs)
}

// parse refuses a selector that costs too much before it parses it.
func (t *Tap) parse(selector string) ([]*labels.Matcher, error) {
	if err := cost.Text(selector); err != nil {
		return nil, err
	}
	return t.parser.ParseMetricSelector(selector)
}

// ServeHTTP streams to one reader. The parameters match[] and selector are PromQL series selectors; a
// sample is sent when one of them matches, or when there are none.
func (t *Tap) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r := &reader{tap: t, queue: make(chan tapped, t.o.Queue)}
	q := req.URL.Query()
	for _, s := range append(q["match[]"], q["selector"]...) {
		ms, err := t.parse(s)
		if err != nil {
			answerError(w, http.StatusBadRequest, fmt.Sprintf("selector %q: %v", clip(s, 256), err))
			return
		}
		r.selectors = append(r.selectors, ms)
	}
	if err := t.add(r); err != nil {
		w.Header().Set("Retry-After", "5")
		answerError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer t.remove(r)
	c, err := websocket.Accept(w, req, &websocket.AcceptOptions{OriginPatterns: t.o.OriginPatterns})
	if err != nil {
		t.o.Logger.Debug("refused a reader", "remote", req.RemoteAddr, "err", err)
		return // Accept has answered
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 10)
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(req.Context()))
	defer cancel(nil)
	go func() { // ends when the connection does
		for {
			if _, _, err := c.Read(ctx); err != nil { // readers have nothing to say, but answer pings and say goodbye
				cancel(err)
				return
			}
		}
	}()
	if err := r.stream(ctx, c); err != nil {
		t.o.Logger.Debug("a reader left", "remote", req.RemoteAddr, "err", err)
	}
}
