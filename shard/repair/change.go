package repair

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minitrue/minitrue/shard"
)

// change is what this node knows of the ring of one epoch, and has done for it.
type change struct {
	epoch    uint64
	since    int64           // when this node first saw it, ms
	known    int64           // since when all nodes are known to know it, ms; 0: they are not
	heard    map[string]bool // the nodes of which that is known
	bulk     bool            // all was copied once, which says nothing of writes by the ring before
	gained   bool            // this node has all that it has to copy
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
	return errors.Join(err, r.level(ctx, v), r.shed(ctx, v))
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

// errUnknown: a node may not know the ring yet.
var errUnknown = errors.New("the ring is not known to all")

// gain copies: first from one owner of each partition, when all know the ring (one that believes itself alone deletes without a word), while the
// time goes by that writes by the ring before may take, and when none can be
// on its way any more from a quorum. That second copy is what counts, and one pass is enough for it: an acknowledged write by the ring
// before was with a quorum of the owners when it began, so one of those that are walked has it; and all writes since come here by
// themselves. Owners need not agree with this node in the end: where writes go on they never do.
func (r *Repairer) gain(ctx context.Context, v *shard.View) error {
	if r.done() {
		return nil
	}
	parts := r.places.get(v.Ring, copying, v.Self)
	if parts.Len() > 0 {
		waits := r.known(ctx, v)
		if !r.change.bulk {
			if errors.Is(waits, errUnknown) {
				return waits
			}
			if err := r.copyAll(ctx, v, parts, func(int) int { return 1 }); err != nil {
				return err
			}
			r.change.bulk = true
			waits = r.known(ctx, v)
		}
		if waits != nil {
			return waits
		}
		if err := r.copyAll(ctx, v, parts, r.o.Sources); err != nil {
			return err
		}
		r.o.Logger.Info("copied what this node gains", "partitions", parts.Len())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.change.gained, r.change.progress.Complete = true, true
	return nil
}

// known fails until every node that is up has known the ring for as long as a write may be under way. The time begins anew with
// each node that is heard of for the first time: it may have come up with the ring before.
func (r *Repairer) known(ctx context.Context, v *shard.View) error {
	c := &r.change
	for i, m := range v.Members {
		if i == v.Self || !m.Up {
			continue
		}
		a, err := r.greet(ctx, v, m)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnknown, err)
		}
		if a.Epoch != v.Ring.Epoch() {
			c.known, c.heard = 0, nil
			return fmt.Errorf("%w: node %s does not know it yet", errUnknown, m.Name)
		}
		if !c.heard[m.ID] {
			if c.heard == nil {
				c.heard = map[string]bool{}
			}
			c.heard[m.ID], c.known = true, 0
		}
	}
	now := r.now()
	if c.known == 0 {
		c.known = now
	}
	if left := c.known + r.o.Grace.Milliseconds() - now; left > 0 {
		return fmt.Errorf("writes by the ring before may still be on their way")
	}
	return nil
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
	leaving := v.Members[c].State == shard.Leaving
	var over error // what hinders that no write by the ring before is on its way; its time goes by while the others copy
	if leaving {
		over = r.known(ctx, v)
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
	if !leaving {
		return r.members.Activate(ctx, v.Ring.Epoch())
	}
	if over != nil {
		return over
	}
	if err := r.handOver(ctx, v); err != nil {
		return err
	}
	return r.members.Left(ctx, v.Ring.Epoch())
}
