package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/minitrue/minitrue/shard"
)

const (
	// A body that would be one more request to a node that has one under way waits for that to end, and goes with all who wait: so
	// many small writes cost as few requests, syncs and wakeups as a large one. It does not wait when so much waits,
	groupEnough = 256 << 10 // bytes, compressed
	// nor longer than this, should the request before be held up.
	groupPatience = 20 * time.Millisecond
	// When several were answered or wait as a request ends, as many come again soon, since most senders write on when they are answered.
	// Until they have, those who wait do so, but not for longer than this, and half of what a request takes: else those who come soon
	// would go in two requests by turns, the first few and the others.
	groupLinger = time.Millisecond
	groupMost   = 4 << 20 // bytes of a request, before compression
)

// group is the bodies that wait for a request to a node. Bodies are blocks of Snappy, and what one has behind its length may stand behind another's.
type group struct {
	l *lane

	mu      sync.Mutex // guards what follows, and sent of the tickets
	waiting []*ticket
	bytes   int // of waiting
	running int // requests under way
	timer   *time.Timer
	crowd   int       // how many were answered by the last request, or waited when it ended
	linger  time.Time // until when to wait for as many
}

// ticket is a body that somebody waits for to be stored.
type ticket struct {
	m       shard.Member
	body    *body
	written origin
	alone   bool      // it goes with no other
	until   time.Time // nothing of it is under way any more: nodes rely on that when the ring changes
	sent    bool
	done    chan struct{}

	rejected []rejectedSeries // set before done is closed
	err      error
}

// post sends a body, with others or alone, and returns what of it the node does not store. [series.ErrUnknownSeries] means that the body, or one that it went with, has a brief with series that
// the node does not know, or was written before something was deleted there: it must go whole and alone.
func (g *group) post(m shard.Member, b *body, written origin, alone bool, until time.Time) ([]rejectedSeries, error) {
	t := &ticket{m: m, body: b, written: written, alone: alone || written.before, until: until, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, t)
	g.bytes += len(b.b)
	g.start(g.running == 0 && (len(g.waiting) >= g.crowd || !time.Now().Before(g.linger)) || g.bytes >= groupEnough)
	g.mu.Unlock()
	timeout := time.NewTimer(time.Until(t.until))
	defer timeout.Stop()
	select {
	case <-t.done:
	case <-timeout.C:
		if g.leave(t) {
			return nil, fmt.Errorf("wait for earlier writes: %w", context.DeadlineExceeded)
		}
		<-t.done // its request ends in time by itself
	}
	return t.rejected, t.err
}

// start begins a request with what waits, if now is true and there may be one more; else it sees to it that it begins soon. The
// caller holds mu.
func (g *group) start(now bool) {
	if len(g.waiting) == 0 {
		return
	}
	if now && g.running < g.l.w.o.Parallel {
		g.running++
		next := g.cut()
		g.disarm()
		g.l.w.sends.Go(func() { g.run(next) })
	}
	if len(g.waiting) > 0 && g.timer == nil {
		patience := groupPatience
		if g.running == 0 {
			patience = time.Until(g.linger)
		}
		g.arm(patience)
	}
}

// arm lets a request begin later. The caller holds mu.
func (g *group) arm(d time.Duration) {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.timer == t { // not disarmed while it waited for mu
			g.timer = nil
			g.start(true)
		}
	})
	g.timer = t
}

func (g *group) disarm() {
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
}

// cut takes those who go together next. The caller holds mu.
func (g *group) cut() []*ticket {
	n, plain := 0, uint64(0)
	for n < len(g.waiting) {
		b := g.waiting[n].body
		size, _ := elements(b.b[b.brief:])
		alone := g.waiting[n].alone || n > 0 && g.waiting[n-1].alone // the time of what was written before is that of the request
		if plain += size + uint64(b.brief); n > 0 && (alone || plain > groupMost) {
			break
		}
		g.waiting[n].sent = true
		g.bytes -= len(g.waiting[n].body.b)
		n++
	}
	next := g.waiting[:n:n]
	if g.waiting = g.waiting[n:]; len(g.waiting) == 0 {
		g.waiting = nil
	}
	return next
}

// leave takes out who has not been sent yet.
func (g *group) leave(t *ticket) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.sent {
		return false
	}
	for i, o := range g.waiting {
		if o == t {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			g.bytes -= len(t.body.b)
			break
		}
	}
	return true
}

// run sends a request, and then sees to those who wait.
func (g *group) run(ts []*ticket) {
	began := time.Now()
	g.send(ts)
	ended := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	g.crowd, g.linger = len(ts)+len(g.waiting), ended.Add(min(groupLinger, ended.Sub(began)/2))
	g.disarm()
	g.start(len(g.waiting) >= g.crowd)
}

// send sends one request for some tickets and tells them what has come of it.
func (g *group) send(ts []*ticket) {
	w := g.l.w
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
	g.l.learn(b, &answer, err)
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
