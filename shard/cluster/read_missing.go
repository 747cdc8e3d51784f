package cluster

import (
	"slices"

	"github.com/minitrue/minitrue/shard"
)

// impossible is the error when some partitions cannot have the answers that they need any more; nil when these may be missing.
func (f *fan[T]) impossible(parts *shard.Set) error {
	hopeless := &shard.Set{}
	var missing []int
	for p := range parts.Partitions() {
		if f.hope(p) >= f.need(p) {
			continue
		}
		hopeless.Add(p)
		for _, o := range f.q.v.Ring.Owners(p) {
			n := int(o)
			if !f.q.up(n) && !slices.Contains(missing, n) {
				missing = append(missing, n)
			}
		}
	}
	if hopeless.Len() == 0 {
		return nil
	}
	if f.sparing && !f.stale {
		f.forgo(hopeless)
		return nil
	}
	if f.q.lost.allowed && !f.strict {
		f.q.lost.add(hopeless, missing)
		f.forgo(hopeless)
		return nil
	}
	return f.unanswered(hopeless, missing)
}

// hope is how many answers a partition has and may still get.
func (f *fan[T]) hope(p uint16) int {
	n := int(f.came[p])
	for c := range f.pending {
		if c.parts.Has(p) {
			n++
		}
	}
	return n
}

// forgo makes the fan content with what it gets about some partitions.
func (f *fan[T]) forgo(parts *shard.Set) {
	need := f.need
	left := map[uint16]int{}
	for p := range parts.Partitions() {
		if left[p] = f.hope(p); left[p] == int(f.came[p]) {
			f.lacking--
		}
	}
	f.need = func(p uint16) int {
		if n, ok := left[p]; ok {
			return n
		}
		return need(p)
	}
}

func (f *fan[T]) unanswered(parts *shard.Set, missing []int) error {
	e := &unanswered{partitions: parts.Len(), stale: f.stale, strict: f.strict}
	for _, n := range missing {
		e.missing = append(e.missing, nameOf(f.q.v, n))
		if e.cause == nil {
			e.cause = f.q.failure(n)
		}
	}
	slices.Sort(e.missing)
	return e
}
