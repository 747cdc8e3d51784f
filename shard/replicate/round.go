package replicate

import (
	"context"
	"time"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/shard/hint"
)

const (
	lanes        = 4
	smallRound   = 64 << 10 // bytes that are not worth more than one request
	requestBytes = 4 << 20  // after which a request is full, before it is compressed
)

// lane is one of the ways on which a round is sent side by side.
type lane struct {
	parts      []part
	plain, out []byte
}

// round sends some writes, the oldest first, and returns when the target has answered for all of them.
func (t *target) round(ctx context.Context, hs []hint.Hint) error {
	t.oldest.Store(max(1, hs[0].Time))
	size := t.open(hs)
	n := uint64(lanes)
	if size < smallRound {
		n = 1
	}
	for i := range t.lanes {
		l := &t.lanes[i]
		clear(l.parts)
		l.parts = l.parts[:0]
	}
	for _, p := range t.parts {
		l := &t.lanes[p.hash%n]
		l.parts = append(l.parts, p)
	}
	var g errgroup.Group
	for i := range t.lanes {
		if l := &t.lanes[i]; len(l.parts) > 0 {
			g.Go(func() error { return t.drive(ctx, l) })
		}
	}
	return g.Wait()
}

// open puts what is in writes into t.parts, and returns how many bytes it is. What cannot be read, though its checksum is right, would not be read the next time
// either: it is left out.
func (t *target) open(hs []hint.Hint) (size int) {
	clear(t.parts)
	t.parts = t.parts[:0]
	for _, h := range hs {
		before := len(t.parts)
		message, err := s2.Decode(nil, h.Body)
		if err == nil {
			err = eachPart(message, func(p part) { t.parts = append(t.parts, p) })
		}
		if err != nil {
			t.parts = t.parts[:before]
			t.log.Error("a write in the queue to another cluster cannot be read: it is stored here and will be missing there",
				"bytes", len(h.Body), "time", time.UnixMilli(h.Time), "err", err)
			continue
		}
		size += len(message)
	}
	return size
}

// drive sends what is on a lane, in order.
func (t *target) drive(ctx context.Context, l *lane) error {
	for rest := l.parts; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && size < requestBytes {
			size += len(rest[n].bytes)
			n++
		}
		tries := maxHalves
		if err := t.deliver(ctx, l, rest[:n], &tries); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if cap(l.plain)+cap(l.out) > 4*requestBytes {
		l.plain, l.out = nil, nil
	}
	return nil
}

// pack makes the body of a request.
func (l *lane) pack(parts []part) []byte {
	l.plain = l.plain[:0]
	for i := range parts {
		l.plain = append(l.plain, parts[i].bytes...)
	}
	if n := s2.MaxEncodedLen(len(l.plain)); cap(l.out) < n {
		l.out = make([]byte, n)
	}
	return s2.EncodeSnappy(l.out[:cap(l.out)], l.plain)
}

// maxHalves bounds the requests by which is found out what of one request a target refuses.
const maxHalves = 64

// deliver sends parts until the target has answered for them.
func (t *target) deliver(ctx context.Context, l *lane, parts []part, tries *int) error {
	var all counts
	for i := range parts {
		all.add(parts[i].counts)
	}
	body := l.pack(parts)
	a, err := t.persist(ctx, body)
	if err != nil {
		return err
	}
	t.m.bytes.Add(float64(len(body)))
	switch {
	case a.good():
		t.count(all, all, a)
	case a.written != nil && a.code != tooLarge: // it has stored the rest
		t.count(all, *a.written, a)
	case len(parts) > 1 && *tries > 0:
		*tries -= 2
		half := len(parts) / 2
		if err := t.deliver(ctx, l, parts[:half], tries); err != nil {
			return err
		}
		return t.deliver(ctx, l, parts[half:], tries)
	default:
		t.count(all, counts{}, a)
	}
	return nil
}

// count notes what a target has written of what it was sent.
func (t *target) count(all, written counts, a answer) {
	lost := all.minus(written)
	t.m.sent.Add(float64(all.samples + all.histograms - lost.samples - lost.histograms))
	t.m.refused.Add(float64(lost.samples + lost.histograms))
	if lost == (counts{}) {
		return
	}
	t.said.Lock()
	defer t.said.Unlock()
	if now := t.o.Now(); now.Sub(t.lastNo) >= sayAgain {
		t.lastNo = now
		t.log.Error("another cluster refuses samples: they are stored here and will be missing there; more of them are counted in minitrue_replicate_refused_samples_total",
			"samples", lost.samples, "histograms", lost.histograms, "exemplars", lost.exemplars, "code", a.code, "err", a.text)
	}
}
