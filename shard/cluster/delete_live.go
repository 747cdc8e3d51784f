package cluster

import "context"

// Newest is when the newest delete was asked for that this node has applied, or is about to apply (Unix ms). What is written here from now on is later
// than that, whatever the clock says.
func (d *Deleter) Newest() int64 { return d.newest.Load() }

// Live calls store for what was written at a time (Unix ms), unless something was deleted since: then done is false, and [Deleter.Deleted] says what. No
// delete that is later is applied before store returns. Others are at any time, so that nobody waits while they are.
func (d *Deleter) Live(ctx context.Context, written int64, store func() error) (done bool, err error) {
	if err := d.CatchUp(ctx); err != nil {
		return false, err
	}
	d.live.RLock()
	defer d.live.RUnlock()
	if d.newest.Load() >= written {
		return false, nil
	}
	return true, store()
}

// overtake sees to it that nothing which was written before a time is stored behind what comes next. One delete is applied at a time.
func (d *Deleter) overtake(at int64) {
	d.newest.Store(max(at, d.newest.Load()))
	d.live.Lock() // whoever stores has looked before
	//lint:ignore SA2001 they have ended now
	d.live.Unlock()
}
