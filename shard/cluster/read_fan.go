package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// job is what is asked of nodes: about each partition so many of its owners, each about its part of them.
type job[T any] struct {
	q     *question
	kind  string // names it in metrics; what nodes need for it is timed by kind
	parts *shard.Set
	need  func(p uint16) int
	may   func(p uint16, node int) bool // whether this owner may be asked; nil: any
	few   bool                          // few nodes about much each, in place of many about little

	once    bool // no partition is in two answers
	strict  bool // it fails even where partial answers are allowed
	sparing bool // it never fails for want of answers: what none was given about is in none

	// ask asks a node, and calls beat whenever something came from it.
	ask func(ctx context.Context, node int, parts *shard.Set, beat func()) (T, error)
	// drop lets go of an answer that came too late; nil: there is nothing to let go of.
	drop func(T)
}

// reply is the answer of a node about some partitions.
type reply[T any] struct {
	node   int
	parts  *shard.Set
	answer T
}

// call is a question to a node.
type call struct {
	node  int
	parts *shard.Set
	start time.Time
	beat  atomic.Int64 // when something came last, Unix ns
	again time.Time    // when others may be asked if they may not be now
	slow  bool         // it was silent for too long
	spare bool         // others were asked in its place
}

type done[T any] struct {
	*call
	answer T
	err    error
}

// fan is a job under way.
type fan[T any] struct {
	job[T]
	ctx     context.Context
	asked   map[int]*shard.Set      // by node
	live    [shard.Partitions]uint8 // answers that came or are waited for, without those of slow nodes
	came    [shard.Partitions]uint8 // answers
	lacking int                     // partitions with fewer answers than they need
	rank    []int                   // with few: in which order nodes are asked
	pending map[*call]bool
	results chan done[T]
	replies []reply[T]
	stale   bool
}

// run asks until all partitions have the answers that they need. The answers are the caller's. Where that is impossible it
// fails, or notes what is missing if the query allows it.
func (j job[T]) run(ctx context.Context) ([]reply[T], error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &fan[T]{job: j, ctx: ctx, asked: map[int]*shard.Set{}, pending: map[*call]bool{}, results: make(chan done[T])}
	if f.drop == nil {
		f.drop = func(T) {}
	}
	if f.few {
		f.rank = ranks(len(j.q.v.Members))
	}
	for p := range j.parts.Partitions() {
		if j.need(p) > 0 {
			f.lacking++
		}
	}
	err := f.loop()
	cancel()
	for len(f.pending) > 0 { // they end soon, and nothing that they hold is lost
		d := <-f.results
		delete(f.pending, d.call)
		if d.err == nil {
			f.drop(d.answer)
		}
	}
	if err != nil {
		for _, r := range f.replies {
			f.drop(r.answer)
		}
		return nil, err
	}
	return f.replies, nil
}

func (f *fan[T]) loop() error {
	f.start(f.parts)
	if err := f.impossible(f.parts); err != nil {
		return err
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for f.lacking > 0 && len(f.pending) > 0 {
		timer.Reset(f.untilSlow())
		select {
		case d := <-f.results:
			delete(f.pending, d.call)
			if err := f.take(d); err != nil {
				return err
			}
		case <-timer.C:
			f.hedge()
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	return nil
}

// take takes a result in.
func (f *fan[T]) take(d done[T]) error {
	if d.err == nil && f.once && f.answered(d.parts) {
		f.drop(d.answer)
		f.start(d.parts)
		return f.impossible(d.parts)
	}
	if d.err == nil {
		f.replies = append(f.replies, reply[T]{d.node, d.parts, d.answer})
		for p := range d.parts.Partitions() {
			if f.came[p]++; int(f.came[p]) == f.need(p) {
				f.lacking--
			}
			if d.spare {
				f.live[p]++
			}
		}
		return nil
	}
	if f.ctx.Err() != nil {
		return f.ctx.Err()
	}
	f.q.r.failed(f.q.v, d.node, f.kind, d.err)
	if errors.Is(d.err, peer.ErrStale) {
		f.stale = true
		if f.q.r.members.View().Ring.Epoch() != f.q.v.Ring.Epoch() {
			return &unanswered{partitions: d.parts.Len(), cause: d.err, stale: true}
		}
	}
	if fatal(d.err) && !(f.sparing && refused(d.err)) {
		return d.err
	}
	f.q.fail(d.node, d.err)
	if !d.spare {
		f.giveUp(d.call)
	}
	f.start(d.parts)
	return f.impossible(d.parts)
}

// answered says whether there is an answer about any of some partitions.
func (f *fan[T]) answered(parts *shard.Set) bool {
	for p := range parts.Partitions() {
		if f.came[p] > 0 {
			return true
		}
	}
	return false
}

func (f *fan[T]) giveUp(c *call) {
	for p := range c.parts.Partitions() {
		f.live[p]--
	}
}

// start asks about partitions that wait for fewer answers than they need, as far as there are owners who were not asked.
func (f *fan[T]) start(parts *shard.Set) {
	calls := map[int]*shard.Set{}
	for p := range parts.Partitions() {
		for need := f.need(p); int(f.live[p]) < need; f.live[p]++ {
			n := f.pick(p)
			if n < 0 {
				break
			}
			set(f.asked, n).Add(p)
			set(calls, n).Add(p)
		}
	}
	for n, s := range calls {
		f.launch(n, s)
	}
}

// pick returns an owner of a partition that was not asked about it, −1 when there is none: this node before all others.
func (f *fan[T]) pick(p uint16) int {
	best := -1
	for _, o := range f.q.v.Ring.Owners(p) {
		n := int(o)
		if !f.willing(p, n) {
			continue
		}
		switch {
		case n == f.q.v.Self:
			return n
		case best < 0, f.better(n, best):
			best = n
		}
	}
	return best
}

// better says of two nodes whether the first is to be asked rather than the second.
func (f *fan[T]) better(n, than int) bool {
	if a, b := f.q.avoids(n), f.q.avoids(than); a != b {
		return b
	}
	return f.few && f.rank[n] < f.rank[than]
}

// first returns the owner that is asked first.
func (q *question) first(p uint16, may func(p uint16, node int) bool) int {
	best := -1
	for _, o := range q.v.Ring.Owners(p) {
		n := int(o)
		if !q.up(n) || may != nil && !may(p, n) {
			continue
		}
		if n == q.v.Self {
			return n
		}
		if best < 0 || q.avoids(best) && !q.avoids(n) {
			best = n
		}
	}
	return best
}

func (f *fan[T]) willing(p uint16, n int) bool {
	if !f.q.up(n) {
		return false
	}
	s := f.asked[n]
	return (s == nil || !s.Has(p)) && (f.may == nil || f.may(p, n))
}

func (f *fan[T]) launch(n int, parts *shard.Set) {
	c := &call{node: n, parts: parts, start: time.Now()}
	c.beat.Store(c.start.UnixNano())
	f.pending[c] = true
	go func() {
		first := true
		answer, err := f.ask(f.ctx, n, parts, func() {
			now := time.Now()
			c.beat.Store(now.UnixNano())
			if first {
				first = false
				f.q.heard(n, f.kind, now.Sub(c.start))
			}
		})
		f.results <- done[T]{c, answer, err}
	}()
}
