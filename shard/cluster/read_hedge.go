package cluster

import "time"

// This file is about nodes that do not answer though they are up.

// untilSlow is how long nothing needs to be done while nothing comes.
func (f *fan[T]) untilSlow() time.Duration {
	wait := time.Hour
	now := time.Now()
	for c := range f.pending {
		if !f.hedged(c) {
			silent := f.q.r.patience(f.kind) - now.Sub(time.Unix(0, c.beat.Load()))
			wait = min(wait, max(0, silent, c.again.Sub(now)))
		}
	}
	return wait
}

// hedged says of a call that its silence changes nothing: this node's own, and one that was silent before.
func (f *fan[T]) hedged(c *call) bool { return c.slow || c.node == f.q.v.Self }

// hedge asks other owners in the place of nodes that are silent. The silent ones may still answer.
func (f *fan[T]) hedge() {
	now, patience := time.Now(), f.q.r.patience(f.kind)
	for c := range f.pending {
		if f.hedged(c) || now.Sub(time.Unix(0, c.beat.Load())) < patience || now.Before(c.again) {
			continue
		}
		trial := f.q.mark(c.node, now)
		if !trial && !f.q.r.pace.mayHedge(now) {
			c.again = now.Add(patience)
			continue
		}
		c.slow = true
		before := len(f.pending)
		c.spare = true
		f.giveUp(c)
		f.start(c.parts)
		f.q.r.m.hedges.Add(float64(len(f.pending) - before))
	}
}

// What a question makes of a node that was silent when others asked it.
const (
	unsure  = iota // nothing yet
	asks           // it was not, or not lately
	tries          // it finds out whether the node still is
	shunned        // it asks the node where no other can be asked
)

// avoids says whether others are to be asked rather than a node. A question does not change its mind unless it finds out by itself.
func (q *question) avoids(n int) bool {
	if n == q.v.Self {
		return false
	}
	if q.opinion[n].Load() == unsure {
		q.opinion[n].CompareAndSwap(unsure, q.r.pace.opinion(q.v.Members[n].ID, time.Now()))
	}
	return q.opinion[n].Load() == shunned
}

// mark notes that a node is silent, and says whether that is what was to be found out.
func (q *question) mark(n int, now time.Time) (trial bool) {
	q.r.pace.silent(q.v.Members[n].ID, now)
	return q.opinion[n].Swap(shunned) == tries
}

// heard notes how long the first sign of life of a node took.
func (q *question) heard(n int, kind string, took time.Duration) {
	if n != q.v.Self && took < q.r.patience(kind) {
		q.r.pace.lively(q.v.Members[n].ID)
	}
	q.r.pace.observe(kind, took)
}
