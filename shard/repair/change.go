package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/minitrue/minitrue/shard"
)

// change is what this node knows of the ring of one epoch, and has done for it.
type change struct {
	epoch    uint64
	since    int64 // when this node first saw it, ms
	known    int64 // since when all nodes are known to know it, ms; 0: they are not
	bulk     bool  // all was copied once, which says nothing of writes by the ring before
	gained   bool  // this node has all that it has to copy
	released map[string]*shard.Set
	checked  bool // there is nothing here of which this node is not an owner
	progress Progress
}

// Progress is how far this node is in copying what it gains.
type Progress struct {
	Change     string    `json:"change"` // "joining", "leaving", "resizing", or "" when the ring does not change
	Total      int       `json:"total"`  // partitions that it has to copy
	Done       int       `json:"done"`   // that it has copied from one owner; it goes on to the others then
	Complete   bool      `json:"complete"`
	Samples    int64     `json:"samples"`
	Bytes      int64     `json:"bytes"` // before compression
	Since      time.Time `json:"since"`
	WaitingFor string    `json:"waiting_for,omitempty"`
}

// Progress says how far the change of the ring is, as seen from here.
func (r *Repairer) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.change.progress
}

// Step does for the change of the ring, and after it, what can be done now. Errors are what it waits for. It is called again and again.
func (r *Repairer) Step(ctx context.Context) error {
	r.steps.Lock()
	defer r.steps.Unlock()
	v := r.members.View()
	if v.Self < 0 {
		return nil
	}
	r.follow(v)
	err := r.serveOffers(ctx, v)
	if v.Ring.Changing() {
		return errors.Join(err, r.goOn(ctx, v))
	}
	return errors.Join(err, r.shed(ctx, v))
}

// follow forgets what was done for another ring.
func (r *Repairer) follow(v *shard.View) {
	r.keep()
	r.mu.Lock()
	defer r.mu.Unlock()
	epoch := v.Ring.Epoch()
	if r.change.epoch == epoch && r.change.released != nil {
		return
	}
	r.change = change{epoch: epoch, since: r.now(), released: map[string]*shard.Set{}}
	if v.Ring.Changing() {
		p := &r.change.progress
		p.Since = r.o.Now()
		p.Total = r.places.get(v.Ring, copying, v.Self).Len()
		p.Change = "resizing"
		if c := v.Ring.Change(); c >= 0 {
			p.Change = v.Members[c].State.String()
		}
	}
	for _, s := range r.states {
		s.due = 0
	}
	signal(r.round)
}

// goOn copies what this node gains, and finishes the change when that is its part.
func (r *Repairer) goOn(ctx context.Context, v *shard.View) error {
	err := r.gain(ctx, v)
	if err == nil && r.done() {
		err = r.finish(ctx, v)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	r.mu.Lock()
	r.change.progress.WaitingFor = text
	r.mu.Unlock()
	return err
}

func (r *Repairer) done() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.change.gained
}

// gain copies: first all, and again when no write by the ring before can be on its way any more.
func (r *Repairer) gain(ctx context.Context, v *shard.View) error {
	if r.done() {
		return nil
	}
	parts := r.places.get(v.Ring, copying, v.Self)
	if parts.Len() > 0 {
		if !r.change.bulk {
			if err := r.copyAll(ctx, v, parts); err != nil {
				return err
			}
			r.change.bulk = true
		}
		if err := r.known(ctx, v); err != nil {
			return err
		}
		if err := r.copyAll(ctx, v, parts); err != nil {
			return err
		}
		r.o.Logger.Info("copied what this node gains", "partitions", parts.Len())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.change.gained, r.change.progress.Complete = true, true
	return nil
}

// known fails until every node that is up has known the ring for as long as a write may be under way.
func (r *Repairer) known(ctx context.Context, v *shard.View) error {
	for i, m := range v.Members {
		if i == v.Self || !m.Up {
			continue
		}
		a, err := r.greet(ctx, v, m)
		if err != nil {
			return err
		}
		if a.Epoch != v.Ring.Epoch() {
			r.change.known = 0
			return fmt.Errorf("node %s does not know the ring yet", m.Name)
		}
	}
	now := r.now()
	if r.change.known == 0 {
		r.change.known = now
	}
	if left := r.change.known + r.o.Grace.Milliseconds() - now; left > 0 {
		return fmt.Errorf("writes by the ring before may still be on their way")
	}
	return nil
}

// copyAll walks every owner of the partitions. It fails unless for each partition so many owners were walked that all acknowledged writes
// are among what they had.
func (r *Repairer) copyAll(ctx context.Context, v *shard.View, parts *shard.Set) error {
	var walked [shard.Partitions]int
	var errs []error
	for turn := range shard.MaxNodes {
		plan := plan(v, parts, turn)
		if len(plan) == 0 {
			break
		}
		for i, m := range v.Members {
			from := plan[i]
			if from == nil {
				continue
			}
			err := errDown
			if i == v.Self {
				err = nil
			} else if m.Up {
				err = r.copyFrom(ctx, v, m, from, turn == 0 && !r.change.bulk)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("copy from node %s: %w", m.Name, err))
				continue
			}
			for p := range from.Partitions() {
				walked[p]++
			}
		}
	}
	missing := 0
	for p := range parts.Partitions() {
		if n := len(v.Ring.Owners(p)); walked[p] < r.o.Sources(n) {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d partitions lack owners to copy from: %w", missing, errors.Join(distinct(errs)...))
	}
	return nil
}

var errDown = errors.New("it is down")

// plan says from whom to copy what in a turn: in the first from the nearest owner of each partition, where that is possible a
// different one for neighbours, and so on until every owner has had its turn.
func plan(v *shard.View, parts *shard.Set, turn int) map[int]*shard.Set {
	plan := map[int]*shard.Set{}
	for p := range parts.Partitions() {
		owners := v.Ring.Owners(p)
		if turn >= len(owners) {
			continue
		}
		i := int(owners[(int(p)+turn)%len(owners)])
		if plan[i] == nil {
			plan[i] = &shard.Set{}
		}
		plan[i].Add(p)
	}
	return plan
}

// distinct keeps the first of errors with the same text.
func distinct(errs []error) []error {
	seen := map[string]bool{}
	return slices.DeleteFunc(errs, func(err error) bool {
		text := err.Error()
		defer func() { seen[text] = true }()
		return seen[text]
	})
}

// copyFrom takes all that a node has of some partitions and this one lacks.
func (r *Repairer) copyFrom(ctx context.Context, v *shard.View, m shard.Member, parts *shard.Set, count bool) error {
	w := r.walk(v, m, noLimit)
	w.copying = true
	ours, peers, mint, err := w.root(ctx, parts, minTime)
	if err != nil {
		return err
	}
	if only(ours.Hot) != only(peers.Hot) || only(ours.Cold) != only(peers.Cold) {
		for _, slab := range slabs(parts) {
			if err := w.repair(ctx, slab, mint, noLimit, 0); err != nil {
				return err
			}
			if w.partial {
				return errors.New("this node cannot store all of it")
			}
			r.passed(slab.Len(), count)
		}
		return nil
	}
	r.passed(parts.Len(), count)
	return nil
}

func (r *Repairer) passed(partitions int, count bool) {
	if !count {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.change.progress
	p.Done = min(p.Done+partitions, p.Total)
}

// copied counts what a walk that copies has stored.
func (r *Repairer) copied(samples, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.change.progress.Samples += int64(samples)
	r.change.progress.Bytes += int64(bytes)
}

// finish ends the change when every node that gains has copied, if this node is the one to do so: the one that joins or leaves. Where that
// is none, or is down, each says that it has copied.
func (r *Repairer) finish(ctx context.Context, v *shard.View) error {
	c := v.Ring.Change()
	if c < 0 || c != v.Self && v.Members[c].State == shard.Leaving && !v.Members[c].Up {
		if r.o.Gained == nil {
			return errors.New("nobody ends the change")
		}
		return r.o.Gained(ctx, v.Ring.Epoch())
	}
	if c != v.Self {
		return nil
	}
	var waits []string
	for i, m := range v.Members {
		if i == v.Self || r.places.get(v.Ring, copying, i).Len() == 0 {
			continue
		}
		if a, err := r.greet(ctx, v, m); err != nil || a.Epoch != v.Ring.Epoch() || !a.Gained {
			waits = append(waits, m.Name)
		}
	}
	if len(waits) > 0 {
		return fmt.Errorf("nodes that have not copied yet: %s", strings.Join(waits, ", "))
	}
	if v.Members[c].State == shard.Joining {
		return r.members.Activate(ctx)
	}
	if err := r.known(ctx, v); err != nil {
		return err
	}
	if err := r.handOver(ctx, v); err != nil {
		return err
	}
	return r.members.Left(ctx)
}
