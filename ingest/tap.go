package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql/cost"
)

// TapOptions of a tap. The zero value is usable.
type TapOptions struct {
	MaxReaders     int           // readers at once; 0 means 100
	MaxStreams     int           // streams to other nodes at once, one for each of their readers; 0 means 400
	Queue          int           // samples that may wait for one reader; 0 means 4,096
	WriteTimeout   time.Duration // for one message to a reader; 0 means 10s
	PingEvery      time.Duration // 0 means 30s
	OriginPatterns []string      // other origins whose pages may read; the request's host always may

	Members  Members       // the cluster, whose other nodes are heard, too; nil means that there are none
	Peers    Poster        // asks them; nil only if Members is
	Beat     time.Duration // a stream between nodes is never silent for longer, and has failed after three times that; 0 means 5s
	PeerWait time.Duration // how long a new reader waits until all other nodes are heard; 0 means 2s

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
}

func (o TapOptions) withDefaults() TapOptions {
	if o.MaxReaders == 0 {
		o.MaxReaders = 100
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = 400
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
	if o.Beat == 0 {
		o.Beat = 5 * time.Second
	}
	if o.PeerWait == 0 {
		o.PeerWait = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Tap streams the float samples that the cluster accepts to WebSocket readers, GET /ws: those that come through this
// node's own doors, and for each reader those of every other node, which sends what came through its doors: so
// each comes once, however many nodes keep it. It never holds up a write: what a slow reader has no room
// for is dropped, counted, and the reader is told. The nil tap has no readers.
type Tap struct {
	o       TapOptions
	parser  parser.Parser
	dropped prometheus.Counter
	sent    prometheus.Counter
	relayed prometheus.Counter

	readers atomic.Pointer[[]*reader] // replaced as a whole; nil when there are none

	mu    sync.Mutex // guards changes of readers and the ends of kinds
	kinds [2]kind    // of readers: sockets and streams
}

// kind is what readers of one kind have in common.
type kind struct {
	most  int
	ended bool
	end   chan struct{}  // closed when there are to be no more
	serve sync.WaitGroup // requests being served
}

const (
	sockets = iota // this node's own readers
	streams        // those of other nodes
)

// NewTap returns a tap without readers.
func NewTap(o TapOptions) *Tap {
	f := promauto.With(o.Registerer)
	t := &Tap{o: o.withDefaults(), parser: parser.NewParser(parser.Options{})}
	t.kinds[sockets].most, t.kinds[streams].most = t.o.MaxReaders, t.o.MaxStreams
	for i := range t.kinds {
		t.kinds[i].end = make(chan struct{})
	}
	t.dropped = f.NewCounter(prometheus.CounterOpts{
		Name: "minitrue_ingest_tap_dropped_samples_total",
		Help: "Samples that slow readers of /ws did not get.",
	})
	t.sent = f.NewCounter(prometheus.CounterOpts{
		Name: "minitrue_ingest_tap_sent_samples_total",
		Help: "Samples sent to readers of /ws.",
	})
	t.relayed = f.NewCounter(prometheus.CounterOpts{
		Name: "minitrue_ingest_tap_relayed_samples_total",
		Help: "Samples sent to other nodes for their readers of /ws.",
	})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_ingest_tap_readers",
		Help: "Readers of /ws.",
	}, func() float64 { return float64(t.count(sockets)) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_ingest_tap_streams",
		Help: "Streams to other nodes, one for each of their readers of /ws.",
	}, func() float64 { return float64(t.count(streams)) })
	return t
}

// Run blocks until ctx is done, then says goodbye to the readers and waits for them. After
// that the tap takes no reader any more.
func (t *Tap) Run(ctx context.Context) error {
	<-ctx.Done()
	t.finish(sockets)
	t.kinds[sockets].serve.Wait()
	return nil
}

// Drain ends the streams to other nodes, each when it has sent what was offered before, and waits for
// that until ctx ends. It belongs behind the last write.
func (t *Tap) Drain(ctx context.Context) {
	t.finish(streams)
	all := make(chan struct{})
	go func() {
		t.kinds[streams].serve.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
	}
}

func (t *Tap) finish(k int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.kinds[k].ended {
		t.kinds[k].ended = true
		close(t.kinds[k].end)
	}
}

func (t *Tap) count(k int) (n int) {
	for _, r := range t.current() {
		if r.kind == k {
			n++
		}
	}
	return n
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

const maxMatchers = 100 // of a reader

var (
	errTapClosed = errors.New("the server is shutting down")
	errTapFull   = errors.New("too many readers")
)

func (t *Tap) add(r *reader) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, k := t.current(), &t.kinds[r.kind]
	switch {
	case k.ended:
		return errTapClosed
	case t.count(r.kind) >= k.most:
		return fmt.Errorf("%w: %d are allowed", errTapFull, k.most)
	}
	rs := append(append(make([]*reader, 0, len(old)+1), old...), r)
	t.readers.Store(&rs)
	k.serve.Add(1)
	return nil
}

func (t *Tap) remove(r *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.kinds[r.kind].serve.Done()
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

// newReader returns a reader of the samples that one of the PromQL selectors matches, or of all when there are none. It
// refuses a selector that costs too much before it parses it.
func (t *Tap) newReader(kind int, match []string) (*reader, error) {
	r := &reader{tap: t, kind: kind, match: match, queue: make(chan tapped, t.o.Queue)}
	r.links.news = make(chan struct{}, 1)
	if err := cost.Text(match...); err != nil {
		return nil, fmt.Errorf("selectors: %w", err)
	}
	n := 0
	for _, s := range match {
		ms, err := t.parser.ParseMetricSelector(s)
		if err != nil {
			return nil, fmt.Errorf("selector %q: %w", clip(s, 256), err)
		}
		if n += len(ms); n > maxMatchers {
			return nil, fmt.Errorf("the selectors have more than %d matchers: writes would wait while all of them are looked at", maxMatchers)
		}
		r.selectors = append(r.selectors, ms)
	}
	return r, nil
}
