package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/series"
)

const (
	joinEnough = 16_000 // samples of batches that do not wait for those under way
	joinMost   = 32_000 // samples of batches that go as one
	joinRounds = 64     // that are under way
)

// waiter is a batch that perhaps goes with others.
type waiter struct {
	ctx   context.Context
	batch *series.Batch
	done  chan struct{}
	err   error // set before done is closed
}

// size is how many samples a waiter has, of all kinds.
func (x *waiter) size() int {
	b := x.batch
	return len(b.Samples) + len(b.Histograms) + len(b.Exemplars) + len(b.Metadata)
}

// newJoined returns what lets batches that come while others are under way be split, stored here and sent as one.
func (w *Writer) newJoined() *batcher[*waiter] {
	return &batcher[*waiter]{
		size: (*waiter).size, enough: joinEnough, cut: fit, serve: w.appendAll, parallel: joinRounds, spawn: w.sends.Go,
	}
}

// fit says how many of those who wait go together next.
func fit(waiting []*waiter) int {
	n, size := 0, 0
	for n < len(waiting) {
		if size += waiting[n].size(); n > 0 && size > joinMost {
			break
		}
		n++
	}
	return n
}

// join appends a batch, perhaps as a part of a larger one. When the context ends it returns as soon as nobody has the batch any more.
func (w *Writer) join(ctx context.Context, b *series.Batch) error {
	x := &waiter{ctx: ctx, batch: b, done: make(chan struct{})}
	w.joined.join(x)
	select {
	case <-x.done:
	case <-ctx.Done():
		if w.joined.leave(x) {
			return fmt.Errorf("append: %w", ctx.Err())
		}
		<-x.done
	}
	return x.err
}

// appendAll appends what some wait for. Enough nodes may be there for what one of them has and not for another's, and a node may fail on one alone: what
// cannot be stored together is tried one by one.
func (w *Writer) appendAll(xs []*waiter) {
	if len(xs) > 1 && w.appendJoined(xs) == nil {
		for _, x := range xs {
			close(x.done)
		}
		return
	}
	var all sync.WaitGroup
	for _, x := range xs {
		all.Go(func() {
			defer close(x.done)
			if x.err = x.ctx.Err(); x.err == nil {
				x.err = w.append(x.ctx, x.batch, w.now())
			}
		})
	}
	all.Wait()
}

// appendJoined appends what some wait for as one batch. It gives up when none of them waits any more.
func (w *Writer) appendJoined(xs []*waiter) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var waiting atomic.Int32
	waiting.Store(int32(len(xs)))
	j := joins.Get().(*joinedBatch)
	j.users.Store(1)
	defer j.give()
	for _, x := range xs {
		stop := context.AfterFunc(x.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		})
		defer stop()
		x.batch.RejectLarge() // behind Join nobody would tell it of a histogram alone
		j.Join(x.batch)
	}
	j.Keep = func() (release func()) { return j.keep(xs) }
	return w.append(ctx, &j.Batch, w.now())
}

// joinedBatch is the memory of a batch that others are joined into.
type joinedBatch struct {
	series.Batch
	users atomic.Int32 // who the memory is not taken from
}

var joins = sync.Pool{New: func() any { return new(joinedBatch) }}

// give ends one use; the last one leaves the memory to the next batch, unless it is much.
func (j *joinedBatch) give() {
	if j.users.Add(-1) > 0 {
		return
	}
	j.Keep = nil
	if j.Reset(); cap(j.Series)+cap(j.Samples) <= 4*joinMost {
		joins.Put(j)
	}
}

// keep is Keep of the batch, if all that were joined can be kept.
func (j *joinedBatch) keep(xs []*waiter) (release func()) {
	j.users.Add(1)
	var kept []func()
	release = func() {
		for _, r := range kept {
			r()
		}
		j.give()
	}
	for _, x := range xs {
		var r func()
		if x.batch.Keep != nil {
			r = x.batch.Keep()
		}
		if r == nil {
			release()
			return nil
		}
		kept = append(kept, r)
	}
	return release
}
