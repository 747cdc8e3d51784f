package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/minitrue/minitrue/shard"
)

const (
	groupEnough = 256 << 10 // bytes of bodies that do not wait for the request before
	groupMost   = 4 << 20   // bytes of a request, before compression
)

// newGroup returns what lets the bodies for a node go together. Bodies are blocks of Snappy, and what one has behind its length may stand behind another's.
func (l *lane) newGroup() *batcher[*ticket] {
	return &batcher[*ticket]{
		size: func(t *ticket) int { return len(t.body.b) }, enough: groupEnough, cut: together,
		serve: l.send, parallel: l.w.o.Parallel, spawn: l.w.sends.Go,
	}
}

// ticket is a body that somebody waits for to be stored.
type ticket struct {
	m       shard.Member
	body    *body
	written origin
	alone   bool      // it goes with no other
	until   time.Time // nothing of it is under way any more: nodes rely on that when the ring changes
	done    chan struct{}

	rejected []rejectedSeries // set before done is closed
	err      error
}

// post sends a body, with others or alone, and returns what of it the node does not store. [series.ErrUnknownSeries] means that the body, or one that it went with, has a brief with series that
// the node does not know, or was written before something was deleted there: it must go whole and alone.
func (l *lane) post(m shard.Member, b *body, written origin, alone bool, until time.Time) ([]rejectedSeries, error) {
	t := &ticket{m: m, body: b, written: written, alone: alone || written.before, until: until, done: make(chan struct{})}
	l.group.join(t)
	timeout := time.NewTimer(time.Until(t.until))
	defer timeout.Stop()
	select {
	case <-t.done:
	case <-timeout.C:
		if l.group.leave(t) {
			return nil, fmt.Errorf("wait for earlier writes: %w", context.DeadlineExceeded)
		}
		<-t.done // its request ends in time by itself
	}
	return t.rejected, t.err
}

// together says how many of those who wait go in one request.
func together(waiting []*ticket) int {
	n, plain := 0, uint64(0)
	for n < len(waiting) {
		b := waiting[n].body
		size, _ := elements(b.b[b.brief:])
		alone := waiting[n].alone || n > 0 && waiting[n-1].alone // the time of what was written before is that of the request
		if plain += size + uint64(b.brief); n > 0 && (alone || plain > groupMost) {
			break
		}
		n++
	}
	return n
}

// send sends one request for some tickets and tells them what has come of it.
func (l *lane) send(ts []*ticket) {
	w := l.w
	b := ts[0].body
	if len(ts) > 1 {
		b = join(ts)
	}
	ctx, cancel := context.WithDeadline(w.ctx, ts[0].until)
	defer cancel()
	oldest := ts[0].written.at
	for _, t := range ts[1:] {
		oldest = min(oldest, t.written.at)
	}
	answer, err := w.post(ctx, ts[len(ts)-1].m, b.b, b.brief, oldest, len(ts) == 1)
	if err == nil {
		err = answer.check(b.series)
	}
	l.learn(b, &answer, err)
	rejected, first := answer.Rejected, 0
	for _, t := range ts {
		t.err = err
		for err == nil && len(rejected) > 0 && rejected[0].Series < first+t.body.series {
			rejected[0].Series -= first
			t.rejected = append(t.rejected, rejected[0])
			rejected = rejected[1:]
		}
		first += t.body.series
		close(t.done)
	}
	if len(ts) > 1 {
		if err != nil {
			b.spoiled.Store(true) // the connection may not have let go of it
		}
		b.release()
	}
}

// join makes one body of several: all briefs, and all requests.
func join(ts []*ticket) *body {
	b := bodies.Get().(*body)
	b.hold()
	plain := uint64(0)
	b.b = b.b[:0]
	for _, t := range ts {
		size, _ := elements(t.body.b[t.body.brief:])
		plain += size
		b.samples += t.body.samples
		b.series += t.body.series
		b.fresh.join(&t.body.fresh)
		b.b = append(b.b, t.body.b[:t.body.brief]...)
	}
	if b.brief = len(b.b); plain == 0 {
		return b
	}
	b.b = binary.AppendUvarint(b.b, plain)
	for _, t := range ts {
		_, request := elements(t.body.b[t.body.brief:])
		b.b = append(b.b, request...)
	}
	return b
}
