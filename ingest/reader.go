package ingest

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// tapped is a sample on its way to a reader, with a key of its own.
type tapped struct {
	key []byte
	series.Sample
}

// maxQueued is how many bytes of keys may wait for one reader, beside the samples. Samples that share a key count it each.
const maxQueued = 1 << 20

// reader is whom the tap feeds: a WebSocket, or another node for one of its own.
type reader struct {
	tap       *Tap
	kind      int
	match     []string            // the selectors as they were given
	selectors [][]*labels.Matcher // any of them; none means all
	queue     chan tapped
	queued    atomic.Int64  // bytes of keys in queue
	lost      atomic.Uint64 // samples dropped and not yet told
	links     links         // to other nodes, which feed it as well
}

func (r *reader) wants(ls []labels.Label) bool {
	for _, ms := range r.selectors {
		if matches(ms, ls) {
			return true
		}
	}
	return len(r.selectors) == 0
}

func matches(ms []*labels.Matcher, ls []labels.Label) bool {
	for _, m := range ms {
		v := ""
		for _, l := range ls {
			if l.Name == m.Name {
				v = l.Value
				break
			}
		}
		if !m.Matches(v) {
			return false
		}
	}
	return true
}

// put queues a sample or drops it; it never waits.
func (r *reader) put(s tapped) {
	if r.reserve(s) {
		select {
		case r.queue <- s:
			return
		default:
			r.queued.Add(-int64(len(s.key)))
		}
	}
	r.lost.Add(1)
	r.tap.dropped.Inc()
}

// pass queues a sample that came from another node, and waits for room: the other node drops what does not fit, then.
func (r *reader) pass(ctx context.Context, s tapped) error {
	if !r.reserve(s) {
		r.lost.Add(1)
		r.tap.dropped.Inc()
		return nil
	}
	select {
	case r.queue <- s:
		return nil
	case <-ctx.Done():
		r.took(s)
		return ctx.Err()
	}
}

func (r *reader) reserve(s tapped) bool {
	n := int64(len(s.key))
	if r.queued.Add(n) > maxQueued {
		r.queued.Add(-n)
		return false
	}
	return true
}

// took is called of what was taken from the queue.
func (r *reader) took(s tapped) { r.queued.Add(-int64(len(s.key))) }
