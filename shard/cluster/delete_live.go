package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// catchUp applies what this node knows of, unless it has done so since it began. What it applied before it stopped is not in its memory until then,
// and the store does not apply it again.
func (d *Deleter) catchUp(ctx context.Context) error {
	if d.caughtUp.Load() {
		return nil
	}
	if _, err := d.apply(ctx); err != nil {
		return fmt.Errorf("apply what was deleted: %w: %w", series.ErrUnavailable, err)
	}
	return nil
}

// Newest is when the newest delete was asked for that this node has applied, or is about to apply (Unix ms). What is written here from now on is later
// than that, whatever the clock says.
func (d *Deleter) Newest() int64 { return d.newest.Load() }

// Live calls store for what was written at a time (Unix ms), unless something was deleted since: then done is false, and [Deleter.Deleted] says what. No
// delete that is later is applied before store returns. Others are at any time, so that nobody waits while they are.
func (d *Deleter) Live(ctx context.Context, written int64, store func() error) (done bool, err error) {
	if err := d.catchUp(ctx); err != nil {
		return false, err
	}
	d.note(written)
	d.live.RLock()
	defer d.live.RUnlock()
	if d.newest.Load() >= written {
		return false, nil
	}
	return true, store()
}

// mostAhead is how far the clock of another node may be ahead so that what it writes is still older than what is deleted after it.
const mostAhead = 24 * time.Hour

// note notes when something was written that is stored here, by a clock that may be ahead: a delete is not older than what it is to take, also where that
// waits as a hint.
func (d *Deleter) note(written int64) {
	for seen := d.seen.Load(); written > seen && written <= d.o.Now().Add(mostAhead).UnixMilli(); seen = d.seen.Load() {
		if d.seen.CompareAndSwap(seen, written) {
			return
		}
	}
}

// overtake sees to it that nothing which was written before a time is stored behind what comes next. One delete is applied at a time.
func (d *Deleter) overtake(at int64) {
	d.newest.Store(max(at, d.newest.Load()))
	d.live.Lock() // whoever stores has looked before
	//lint:ignore SA2001 they have ended now
	d.live.Unlock()
}

// mostPast is how many digests are remembered. A sender who is further behind waits as if he were ahead.
const mostPast = 256

// turn changes the digest. The caller holds mu.
func (d *Deleter) turn(to series.Digest) {
	if d.past = append(d.past, d.digest.Lo); len(d.past) > mostPast {
		d.past = slices.Delete(d.past, 0, 1)
	}
	d.digest = to
	close(d.turned)
	d.turned = make(chan struct{})
}

// digestOf is what a delete adds to the digest.
func digestOf(key string) series.Digest { return series.Digest(series.HashKey([]byte(key))) }

// Await waits until this node has applied what the sender of a write had, whose digest it is: what is stored before a delete is deleted by it, though it
// was written later. [series.ErrUnavailable] says that the node has not heard of it in time.
func (d *Deleter) Await(ctx context.Context, theirs uint64) error {
	var tooLong <-chan time.Time
	for {
		d.mu.Lock()
		known := theirs == 0 || theirs == d.digest.Lo || slices.Contains(d.past, theirs) // the sender is behind
		turned := d.turned
		d.mu.Unlock()
		if known {
			return nil
		}
		if tooLong == nil {
			t := time.NewTimer(d.o.Patience)
			defer t.Stop()
			tooLong = t.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tooLong:
			return fmt.Errorf("%w: the sender has applied a delete that this node has not", series.ErrUnavailable)
		case <-turned:
		}
	}
}

// Digest is the digest of the deletes that this node has applied.
func (d *Deleter) Digest() series.Digest {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.digest
}

// Apply applies what this node knows of.
func (d *Deleter) Apply(ctx context.Context) error {
	_, err := d.apply(ctx)
	return err
}
