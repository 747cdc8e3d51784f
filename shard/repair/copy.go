package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/minitrue/minitrue/shard"
)

// copyAll walks so many owners of each partition as need says of their number. It fails when there are fewer that can be walked.
func (r *Repairer) copyAll(ctx context.Context, v *shard.View, parts *shard.Set, need func(owners int) int) error {
	var walked [shard.Partitions]int
	var errs []error
	rest := *parts
	for turn := range shard.MaxNodes {
		plan := plan(v, &rest, turn)
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
				err = r.copyFrom(ctx, v, m, from, !r.change.bulk)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("copy from node %s: %w", m.Name, err))
				continue
			}
			for p := range from.Partitions() {
				if walked[p]++; walked[p] >= need(len(v.Ring.Owners(p))) {
					rest.Remove(p)
				}
			}
		}
	}
	if n := rest.Len(); n > 0 {
		return fmt.Errorf("%d partitions lack owners to copy from: %w", n, errors.Join(distinct(errs)...))
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

// copyFrom takes all that a node has of some partitions and this one lacks. What it compares is as it is when it comes to it, once: which
// partitions differ, then for some of these at a time which windows.
func (r *Repairer) copyFrom(ctx context.Context, v *shard.View, m shard.Member, parts *shard.Set, count bool) error {
	w := r.walk(v, m, noLimit)
	w.copying = true
	r.copies.Add(1)
	defer r.copies.Add(-1)
	ours, peers, mint, err := w.root(ctx, parts, minTime, 0)
	if err != nil {
		return err
	}
	differ := narrow(parts, 0, differing(ours.Hot, peers.Hot))
	r.passed(parts.Len()-differ.Len(), count)
	for _, slab := range slabs(differ) {
		if err := w.repair(ctx, slab, mint, noLimit); err != nil {
			return err
		}
		if w.partial {
			return errors.New("this node cannot store all of it")
		}
		r.passed(slab.Len(), count)
	}
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
