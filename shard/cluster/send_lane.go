package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/hint"
	"github.com/minitrue/minitrue/shard/peer"
)

// writePath is where a node takes writes from others.
const writePath = "/peer/v1/write"

// headerWritten says when a request was written, Unix ms: what was deleted later must not come back, and is left out. headerOldest says so of several that
// go together, some of which may be younger, and of series that are named by their ids: nothing can be left out, and the request is refused.
const (
	headerWritten = "X-Minitrue-Written"
	headerOldest  = "X-Minitrue-Oldest"
)

var (
	errQueue  = errors.New("too slow: too much is under way to it")
	errAnswer = errors.New("its answer makes no sense")
)

// lane is the way to one node. It bounds what is on it.
type lane struct {
	w       *Writer
	id      string
	name    string
	queued  atomic.Int64 // bytes of memory of what is being sent
	hinting atomic.Int64 // bytes that are being written to its hints
	group   *batcher[*ticket]

	samples, bytes, unknown, hinted, replayed, lost prometheus.Counter
	failures                                        *prometheus.CounterVec
	gauge                                           prometheus.Gauge
}

// lane returns the way to a node.
func (w *Writer) lane(m shard.Member) *lane {
	if l, ok := w.lanes.Load(m.ID); ok {
		return l.(*lane)
	}
	name := m.Name
	if name == "" {
		name = m.ID
	}
	l := &lane{
		w: w, id: m.ID, name: name,
		samples: w.m.samples.WithLabelValues(name), bytes: w.m.bytes.WithLabelValues(name), unknown: w.m.unknown.WithLabelValues(name),
		hinted: w.m.hinted.WithLabelValues(name), replayed: w.m.replayed.WithLabelValues(name), lost: w.m.lost.WithLabelValues(name),
		failures: w.m.failures.MustCurryWith(prometheus.Labels{"peer": name}), gauge: w.m.queued.WithLabelValues(name),
	}
	l.group = l.newGroup()
	known, _ := w.lanes.LoadOrStore(m.ID, l)
	return known.(*lane)
}

// take takes room for n bytes on the lane, unless too much is on it.
func (l *lane) take(n int) bool {
	if l.queued.Add(int64(n)) > l.w.o.MaxQueued {
		l.queued.Add(int64(-n))
		return false
	}
	l.gauge.Add(float64(n))
	return true
}

func (l *lane) give(n int) {
	l.queued.Add(int64(-n))
	l.gauge.Sub(float64(n))
}

var writeHeader = http.Header{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}}

// post sends a write to a node: a brief of some bytes, and a request. It was written at a time in Unix ms, the oldest of it if it is not one alone.
func (w *Writer) post(ctx context.Context, m shard.Member, b []byte, brief int, written int64, one bool) (answer writeAnswer, err error) {
	header, when := writeHeader.Clone(), headerOldest
	if one && brief == 0 {
		when = headerWritten
	}
	header.Set(when, strconv.FormatInt(written, 10))
	if brief > 0 {
		header.Set(headerBrief, strconv.Itoa(brief))
	}
	raw, err := w.client.Write(ctx, m, writePath, b, header)
	if err != nil {
		return answer, briefError(err, brief)
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return answer, fmt.Errorf("%w: %w", errAnswer, err)
	}
	return answer, nil
}

// failed counts a failure of the node.
func (l *lane) failed(err error) {
	reason := "error"
	var se *peer.StatusError
	switch {
	case errors.Is(err, errDown):
		reason = "down"
	case errors.Is(err, errQueue):
		reason = "queue"
	case errors.Is(err, errAnswer):
		reason = "answer"
	case errors.Is(err, context.DeadlineExceeded):
		reason = "timeout"
	case isMoved(err):
		reason = "stale"
	case errors.As(err, &se):
		reason = "refused"
	}
	l.failures.WithLabelValues(reason).Inc()
	if reason != "down" {
		l.w.o.Logger.Debug("a node did not store a write", "peer", l.name, "reason", reason, "err", err)
	}
}

func isMoved(err error) bool { return errors.Is(err, peer.ErrStale) }

// hint keeps a body for the node, without the caller waiting for the disk, and releases it.
func (l *lane) hint(b *body, written int64) {
	n := int64(len(b.b))
	if b.series == 0 { // metadata alone comes again by itself
		b.release()
		return
	}
	if l.hinting.Add(n) > l.w.o.MaxQueued {
		l.hinting.Add(-n)
		l.lost.Inc()
		b.release()
		return
	}
	l.w.sends.Go(func() {
		defer b.release()
		defer l.hinting.Add(-n)
		if err := l.w.hints.Append(l.id, hint.Hint{Time: written, Body: b.b}); err != nil {
			l.lost.Inc()
			l.w.o.Logger.Debug("a write is not kept for a node that missed it", "peer", l.name, "err", err)
			return
		}
		l.hinted.Inc()
	})
}
