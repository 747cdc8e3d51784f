package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/minitrue/minitrue/shard"
)

// offer is what a node that does not want to keep its copy has asked this one to take.
type offer struct {
	epoch uint64
	want  shard.Set // to be looked at
	done  shard.Set // this node has all that the other had when it asked
}

// askCopied asks a peer which of these partitions it has taken in full from this node, and to go on with the others.
func (r *Repairer) askCopied(ctx context.Context, v *shard.View, m shard.Member, parts *shard.Set) (*Answer, error) {
	q := Question{Kind: Copied, From: v.Members[v.Self].ID, Epoch: v.Ring.Epoch(), Parts: parts}
	a, err := r.peers.Ask(ctx, m, q)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", m.Name, err)
	}
	r.hear(m.ID, a)
	return a, nil
}

// promise answers a question for what is copied, and notes what is to be taken from the asker.
func (r *Repairer) promise(q Question) (done *shard.Set, gained bool) {
	v := r.members.View()
	done = &shard.Set{}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.Ring.Epoch() != q.Epoch || v.Self < 0 {
		return done, false
	}
	gained = r.change.epoch == q.Epoch && r.change.gained
	if q.Parts.Len() == 0 || v.Ring.Index(q.From) < 0 {
		return done, gained
	}
	o := r.offers[q.From]
	if o == nil || o.epoch != q.Epoch {
		o = &offer{epoch: q.Epoch}
		r.offers[q.From] = o
	}
	*done = o.done
	done.Intersect(q.Parts)
	o.want.Union(q.Parts)
	o.want.Minus(&o.done)
	if o.want.Len() > 0 {
		signal(r.step)
	}
	return done, gained
}

// serveOffers takes from others what they want to be rid of.
func (r *Repairer) serveOffers(ctx context.Context, v *shard.View) error {
	var errs []error
	for i, m := range v.Members {
		parts := r.wanted(v, m.ID)
		if i == v.Self || parts.Len() == 0 {
			continue
		}
		if err := r.copyFrom(ctx, v, m, parts, false); err != nil {
			errs = append(errs, fmt.Errorf("take over from node %s: %w", m.Name, err))
			continue
		}
		r.mu.Lock()
		if o := r.offers[m.ID]; o != nil && o.epoch == v.Ring.Epoch() {
			o.done.Union(parts)
			o.want.Minus(parts)
		}
		r.mu.Unlock()
	}
	return errors.Join(errs...)
}

// wanted returns what a peer asks this node to take, and forgets offers by another ring.
func (r *Repairer) wanted(v *shard.View, id string) *shard.Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.offers[id]
	if o == nil {
		return &shard.Set{}
	}
	if o.epoch != v.Ring.Epoch() {
		delete(r.offers, id)
		return &shard.Set{}
	}
	want := o.want
	return &want
}

// offerTo offers partitions to the peers that are to have them, and returns for each how many of these have them in full.
func (r *Repairer) offerTo(ctx context.Context, v *shard.View, parts *shard.Set, heirs func(uint16) []uint8) (held [shard.Partitions]int, err error) {
	var errs []error
	for i, m := range v.Members {
		want := &shard.Set{}
		for p := range parts.Partitions() {
			for _, h := range heirs(p) {
				if int(h) == i {
					want.Add(p)
				}
			}
		}
		if want.Len() == 0 {
			continue
		}
		done, err := r.release(ctx, v, m, want)
		if err != nil {
			errs = append(errs, err)
		}
		for p := range done.Partitions() {
			held[p]++
		}
	}
	return held, errors.Join(errs...)
}

// release asks a peer for what it does not say to have yet.
func (r *Repairer) release(ctx context.Context, v *shard.View, m shard.Member, want *shard.Set) (*shard.Set, error) {
	done := r.change.released[m.ID]
	if done == nil {
		done = &shard.Set{}
		r.change.released[m.ID] = done
	}
	rest := *want
	rest.Minus(done)
	if rest.Len() == 0 {
		return done, nil
	}
	if !m.Up {
		return done, fmt.Errorf("node %s has not taken over: %w", m.Name, errDown)
	}
	a, err := r.askCopied(ctx, v, m, &rest)
	if err != nil {
		return done, err
	}
	if a.Epoch != v.Ring.Epoch() {
		return done, fmt.Errorf("node %s does not know the ring yet", m.Name)
	}
	done.Union(a.Done)
	return done, nil
}

// handOver fails until so many of those that will have the partitions of this node have all that it has, that no acknowledged write goes
// with it.
func (r *Repairer) handOver(ctx context.Context, v *shard.View) error {
	parts := r.places.get(v.Ring, owned, v.Self)
	if parts.Len() > 0 && len(v.Ring.Next(0)) == 0 {
		return errors.New("no node would be left to take over")
	}
	held, err := r.offerTo(ctx, v, parts, v.Ring.Next)
	missing := 0
	for p := range parts.Partitions() {
		if n := len(v.Ring.Next(p)); held[p] < n-r.o.Sources(n)+1 {
			missing++
		}
	}
	if missing > 0 {
		return errors.Join(fmt.Errorf("%d partitions are not taken over yet", missing), err)
	}
	return nil
}

// shed lets copies go which are no longer this node's to keep, when each owner has all that is in them.
func (r *Repairer) shed(ctx context.Context, v *shard.View) error {
	if r.change.checked || r.now()-r.change.since < r.o.Grace.Milliseconds() {
		return nil
	}
	foreign := shard.All()
	foreign.Minus(r.places.get(v.Ring, written, v.Self))
	r.mu.Lock()
	foreign.Minus(&r.dropped)
	r.mu.Unlock()
	held := &shard.Set{}
	leaves, err := r.leaves(ctx, Question{Parts: foreign, Mint: minTime, Maxt: noLimit})
	if err != nil {
		return err
	}
	for _, l := range leaves {
		if len(v.Ring.Owners(l.Partition)) > 0 {
			held.Add(l.Partition)
		}
	}
	taken, err := r.offerTo(ctx, v, held, v.Ring.Owners)
	free := &shard.Set{}
	for p := range held.Partitions() {
		if taken[p] == len(v.Ring.Owners(p)) {
			free.Add(p)
		}
	}
	r.change.checked = free.Len() == held.Len()
	if free.Len() > 0 {
		r.drop(v, free)
	}
	return err
}

// drop lets the store drop partitions.
func (r *Repairer) drop(v *shard.View, parts *shard.Set) {
	r.owning.Lock()
	defer r.owning.Unlock()
	now := r.members.View()
	if now.Ring.Epoch() != v.Ring.Epoch() {
		return // they may be this node's again
	}
	r.mu.Lock()
	r.dropped.Union(parts)
	keep := shard.All()
	keep.Minus(&r.dropped)
	r.mu.Unlock()
	r.store.Own(keep)
	r.o.Logger.Info("other nodes own what this one had, and have it in full: its copies go", "partitions", parts.Len())
}

// keep sees to it that the store keeps everything of which this node gets writes.
func (r *Repairer) keep() {
	r.owning.Lock()
	defer r.owning.Unlock()
	v := r.members.View()
	if v.Self < 0 {
		return
	}
	wanted := r.places.get(v.Ring, written, v.Self)
	r.mu.Lock()
	back := r.dropped
	back.Intersect(wanted)
	r.dropped.Minus(wanted)
	keep := shard.All()
	keep.Minus(&r.dropped)
	r.mu.Unlock()
	if back.Len() > 0 {
		r.store.Own(keep)
	}
}
