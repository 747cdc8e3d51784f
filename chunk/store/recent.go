package store

import (
	"context"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// recent keeps what was counted while others waited to ask. Where late samples come all the time, each who asks would read the window anew, one
// after the other; but to all who asked before a count began it is as good as one of their own.
type recent struct {
	clock   atomic.Uint64 // of questions and counts
	askers  atomic.Int32  // that wait, or have their turn
	counted map[place]count
}

type place struct {
	window    int64
	partition uint16
}

// count is a digest that was counted, and when that began.
type count struct {
	began uint64
	sum   series.Digest
}

const maxRecent = 1 << 15 // 2 MB or so

// turn waits for ledger.one and returns the time of the question.
func (l *ledger) turn() (asked uint64) {
	asked = l.recent.clock.Add(1)
	l.recent.askers.Add(1)
	l.one.Lock()
	return asked
}

// alone is the context of one who has the turn: who rests does so only as long as nobody else waits for it.
func (l *ledger) alone(ctx context.Context) context.Context {
	return duty.Resting(ctx, func() {
		if l.recent.askers.Load() < 2 {
			duty.Rest(ctx)
		}
	})
}

// done gives ledger.one to the next.
func (l *ledger) done() {
	if l.recent.askers.Add(-1) == 0 {
		l.recent.counted = nil // whoever comes now asks later than all this was counted
	}
	l.one.Unlock()
}

// keep keeps what a count has found, if somebody waits. The caller holds ledger.one, as for since.
func (r *recent) keep(window int64, parts *shard.Set, began uint64, sums *digests) {
	if r.askers.Load() < 2 {
		return
	}
	if len(r.counted)+parts.Len() > maxRecent {
		r.counted = nil
	}
	if r.counted == nil {
		r.counted = map[place]count{}
	}
	for p := range parts.Partitions() {
		r.counted[place{window, p}] = count{began, sums.of(p)}
	}
}

// since takes out of parts those of which a count began after a question, and puts their digests into sums.
func (r *recent) since(asked uint64, window int64, parts *shard.Set, sums *digests) {
	if len(r.counted) == 0 {
		return
	}
	all := *parts
	for p := range all.Partitions() {
		if c, ok := r.counted[place{window, p}]; ok && c.began > asked {
			*sums.at(p) = c.sum
			parts.Remove(p)
		}
	}
}
