package hint

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Replay gives the hints of a peer to send, oldest first, until there are none. A hint is dropped when send has returned nil;
// an error ends the replay, and the next one begins with the same hint. A hint is valid during the call. What is
// damaged is skipped, counted and logged.
func (s *Store) Replay(ctx context.Context, peer string, send func(ctx context.Context, h Hint) error) error {
	return s.ReplayTogether(ctx, peer, 1, func(ctx context.Context, hs []Hint) error { return send(ctx, hs[0]) })
}

// ReplayTogether is Replay for who sends several hints at once: each call gets one at least, and as many more as there are until they have so
// many bytes.
func (s *Store) ReplayTogether(ctx context.Context, peer string, bytes int, send func(ctx context.Context, hs []Hint) error) error {
	q := s.queue(peer)
	if q == nil {
		return nil
	}
	q.replaying.Lock()
	defer q.replaying.Unlock()
	for {
		seg, from, ok := q.head()
		if !ok {
			return nil
		}
		if err := q.replay(ctx, seg, from, bytes, send); err != nil {
			return fmt.Errorf("replay hints of node %s: %w", peer, err)
		}
	}
}

// head is the first segment with something to send, and where that begins.
func (q *queue) head() (seg segment, from int64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone || len(q.segments) == 0 || q.stays() {
		return segment{}, 0, false
	}
	return q.segments[0], q.sent, true
}

// stays says whether nothing is to be sent, and the segment that the next hint goes to is kept for it. The caller holds mu.
func (q *queue) stays() bool {
	return q.s.o.Tail && q.tail != nil && len(q.segments) == 1 && q.sent >= q.segments[0].size
}

// replay sends what is in the first segment now, and drops it when nothing was added meanwhile.
func (q *queue) replay(ctx context.Context, seg segment, from int64, bytes int, send func(ctx context.Context, hs []Hint) error) error {
	b, err := read(q.path(seg.number), from, seg.size)
	if err != nil {
		if still, _, ok := q.head(); !ok || still.number != seg.number {
			return nil // it was forgotten or got too old
		}
		return err
	}
	oldest := q.s.o.Now().Add(-q.s.o.MaxAge).UnixMilli()
	var together []Hint
	for at, n := 0, 0; at < len(b); {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, skipped, size := nextFrame(b[at:])
		if skipped > 0 {
			q.damaged(seg, from+int64(at), skipped)
		}
		at += skipped + size
		switch {
		case size == 0:
		case h.Time < oldest:
			q.s.dropped.WithLabelValues(dropOld).Add(float64(size))
		default:
			together, n = append(together, h), n+size
		}
		if n < bytes && at < len(b) {
			continue
		}
		if len(together) > 0 {
			if err := send(ctx, together); err != nil {
				return err
			}
		}
		together, n = together[:0], 0
		if !q.advance(seg.number, from+int64(at)) {
			return nil
		}
	}
	return q.finish(seg.number)
}

// read reads a part of a file.
func read(path string, from, to int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, to-from)
	if n, err := f.ReadAt(b, from); err != nil && err != io.EOF {
		return nil, err
	} else if n < len(b) { // cut short by somebody: the rest is as good as damaged
		clear(b[n:])
	}
	return b, nil
}

func (q *queue) damaged(seg segment, at int64, n int) {
	q.s.dropped.WithLabelValues(dropDamaged).Add(float64(n))
	q.s.o.Logger.Warn("skipped damaged hints; "+q.s.o.Missing,
		"peer", q.peer, "path", q.path(seg.number), "offset", at, "bytes", n)
}

// advance notes how much of a segment was sent. It is false when the segment is not the first any more.
func (q *queue) advance(number uint64, sent int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone || len(q.segments) == 0 || q.segments[0].number != number {
		return false
	}
	q.sent = sent
	q.remember(number)
	return true
}

// finish drops a segment of which all was sent.
func (q *queue) finish(number uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone || len(q.segments) == 0 || q.segments[0].number != number || q.sent < q.segments[0].size || q.stays() {
		return nil
	}
	return q.drop()
}
