package repair

import (
	"context"
	"sync"

	"github.com/minitrue/minitrue/shard"
)

// queue holds what readers have met, by window.
type queue struct {
	m *metrics

	mu      sync.Mutex // guards what follows
	windows map[int64]*shard.Set
	looked  map[int64]*shard.Set // what was compared since the last sweep
	swept   int64                // ms
}

const maxWindows = 256 // that wait; readers that meet more are not heard, rounds find the rest

func newQueue(m *metrics) *queue {
	return &queue{m: m, windows: map[int64]*shard.Set{}, looked: map[int64]*shard.Set{}}
}

// Repair says that the replicas of some partitions were seen to differ in a window. They are compared soon. It does not wait, and
// forgets what is too much.
func (r *Repairer) Repair(parts *shard.Set, window int64) {
	if r.queue.add(parts, shard.Window(window), r.now(), r.o.Settle.Milliseconds()) {
		signal(r.round)
	}
}

// add says whether there is something to do. What was compared within the last settle ms is not compared again: readers of
// the newest window see writes on their way all the time.
func (q *queue) add(parts *shard.Set, window, now, settle int64) bool {
	fresh := *parts
	q.mu.Lock()
	defer q.mu.Unlock()
	if now < q.swept || now-q.swept > settle {
		clear(q.looked)
		q.swept = now
	}
	if l := q.looked[window]; l != nil {
		fresh.Minus(l)
	}
	if fresh.Len() == 0 {
		return false
	}
	s := q.windows[window]
	if s == nil {
		if len(q.windows) >= maxWindows {
			q.m.unheard.Inc()
			return false
		}
		s = &shard.Set{}
		q.windows[window] = s
	}
	s.Union(&fresh)
	return true
}

// pop returns a window that waits, nil when none does.
func (q *queue) pop() (window int64, parts *shard.Set) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for window, parts = range q.windows {
		delete(q.windows, window)
		break
	}
	if parts == nil {
		return 0, nil
	}
	if q.looked[window] == nil && len(q.looked) < maxWindows {
		q.looked[window] = &shard.Set{}
	}
	if l := q.looked[window]; l != nil {
		l.Union(parts)
	}
	return window, parts
}

// drain compares what readers met with every peer that has it.
func (r *Repairer) drain(ctx context.Context) {
	for ctx.Err() == nil {
		window, parts := r.queue.pop()
		if parts == nil {
			return
		}
		v := r.members.View()
		for _, m := range v.Members {
			if !m.Up {
				continue
			}
			common := r.shared(v, m.ID)
			common.Intersect(parts)
			if common.Len() == 0 {
				continue
			}
			if err := r.readRepair(ctx, v, m, common, window); err != nil {
				r.o.Logger.Debug("cannot repair what a query met", "peer", m.Name, "err", err)
			}
		}
	}
}

func (r *Repairer) readRepair(ctx context.Context, v *shard.View, m shard.Member, parts *shard.Set, window int64) error {
	r.rounds.Lock()
	defer r.rounds.Unlock()
	w := r.walk(v, m, r.now()-r.o.Settle.Milliseconds())
	if window < w.mint() {
		return nil
	}
	return w.repair(ctx, parts, window, end(window))
}
