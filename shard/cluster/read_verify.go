package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// span says how some partitions are read: whole from one of the replicas that were found equal, and from the cut on from as many as
// must be heard.
type span struct {
	parts *shard.Set
	cut   int64                         // ms; always: everything is read from several, never: nothing is
	may   func(p uint16, node int) bool // which replicas were found equal before the cut; nil: any will do
}

// worth is how many pairs of partition and window a question about single devices must concern before it is worth while to
// compare digests of what replicas have.
const worth = 1024

// spans divides the partitions by how they are read in [mint, maxt].
func (q *question) spans(ctx context.Context, mint, maxt int64) ([]span, error) {
	single, several := &shard.Set{}, &shard.Set{}
	for p := range q.parts.Partitions() {
		if q.needed(p) == 1 {
			single.Add(p)
		} else {
			several.Add(p)
		}
	}
	var out []span
	if single.Len() > 0 {
		out = append(out, span{parts: single, cut: never})
	}
	if several.Len() == 0 {
		return out, nil
	}
	until := min(maxt, q.r.fresh()-1)
	if until < mint || q.cheap(several, mint, until) {
		return append(out, span{parts: several, cut: always}), nil
	}
	more, err := q.verify(ctx, several, mint, until)
	if err != nil {
		return nil, err
	}
	for _, s := range more {
		if s.cut == never && maxt > until {
			s.cut = until + 1
		}
		out = append(out, s)
	}
	return out, nil
}

// cheap says of a question that reading all replicas costs no more than comparing them.
func (q *question) cheap(parts *shard.Set, mint, maxt int64) bool {
	windows := float64(maxt)/shard.WindowMillis - float64(mint)/shard.WindowMillis + 1
	return parts.Len() <= maxKeys && float64(parts.Len())*windows < worth
}

// verify compares the digests of as many replicas as must be heard, and returns spans whose cut is the start of the oldest window in which they
// differ.
func (q *question) verify(ctx context.Context, parts *shard.Set, mint, maxt int64) ([]span, error) {
	sums, err := q.digests(ctx, parts, request{mint: mint, maxt: maxt})
	if err != nil {
		return nil, err
	}
	equal, differ := &shard.Set{}, &shard.Set{}
	for p := range parts.Partitions() {
		if differing(sums, p) {
			differ.Add(p)
		} else {
			equal.Add(p)
		}
	}
	q.r.m.verified.Add(float64(equal.Len()))
	q.r.m.differed.Add(float64(differ.Len()))
	var out []span
	if equal.Len() > 0 {
		out = append(out, span{parts: equal, cut: never, may: heard(sums)})
	}
	if differ.Len() == 0 {
		return out, nil
	}
	leaves, err := q.digests(ctx, differ, request{mint: mint, maxt: maxt, leaves: true})
	if err != nil {
		return nil, err
	}
	cut := never
	for _, w := range q.windows(differ, leaves) {
		cut = min(cut, w)
	}
	return append(out, span{parts: differ, cut: cut, may: heard(leaves)}), nil
}

// differing says whether the replicas that have answered for a partition have different sums of it.
func differing(all []reply[*digests], p uint16) bool {
	var first *series.Digest
	for _, r := range all {
		if !r.parts.Has(p) {
			continue
		}
		d := r.answer.sums[p]
		if first != nil && d != *first {
			return true
		}
		first = &d
	}
	return false
}

// heard says which nodes have answered for which partitions.
func heard[T any](all []reply[T]) func(p uint16, node int) bool {
	return func(p uint16, node int) bool {
		return slices.ContainsFunc(all, func(r reply[T]) bool { return r.node == node && r.parts.Has(p) })
	}
}

// windows returns the windows in which replicas differ, and tells of them.
func (q *question) windows(parts *shard.Set, all []reply[*digests]) []int64 {
	type at struct {
		p uint16
		w int64
	}
	votes := map[at]map[series.Digest]int{}
	for _, r := range all {
		for _, l := range r.answer.leaves {
			k := at{l.Partition, l.Window}
			if votes[k] == nil {
				votes[k] = map[series.Digest]int{}
			}
			votes[k][l.Digest]++
		}
	}
	replicas := map[uint16]int{}
	for _, r := range all {
		for p := range r.parts.Partitions() {
			replicas[p]++
		}
	}
	found := map[int64]*shard.Set{}
	for k, byDigest := range votes {
		n := 0
		for _, c := range byDigest {
			n += c
		}
		if len(byDigest) > 1 || n < replicas[k.p] {
			if found[k.w] == nil {
				found[k.w] = &shard.Set{}
			}
			found[k.w].Add(k.p)
		}
	}
	for w, set := range found {
		q.r.o.Differ(set, w)
	}
	return slices.Collect(maps.Keys(found))
}

// digests are a node's answer about what it has of some partitions.
type digests struct {
	sums   map[uint16]series.Digest // of all windows; what has no samples is not there
	leaves []shard.Leaf             // of each window, if they were asked for
}

// digests asks as many replicas as must be heard.
func (q *question) digests(ctx context.Context, parts *shard.Set, req request) ([]reply[*digests], error) {
	return job[*digests]{q: q, kind: "digests", parts: parts, need: q.needed,
		ask: func(ctx context.Context, node int, parts *shard.Set, beat func()) (*digests, error) {
			d := &digests{sums: map[uint16]series.Digest{}}
			if node == q.v.Self {
				leaves, err := q.r.local.Digests(within(ctx, parts), req.mint, req.maxt)
				if err != nil {
					return nil, err
				}
				return d, d.add(leaves, parts)
			}
			req := req
			req.parts = parts
			return d, q.stream(ctx, node, pathDigests, &req, beat, func(payload []byte) error {
				return d.frame(payload, &req, q.budget)
			})
		}}.run(ctx)
}

// add adds leaves up. Those of other partitions are an error.
func (d *digests) add(leaves []shard.Leaf, parts *shard.Set) error {
	for _, l := range leaves {
		if !parts.Has(l.Partition) {
			return fmt.Errorf("digests: there is one of partition %d, which was not asked for", l.Partition)
		}
		d.sums[l.Partition] = d.sums[l.Partition].Plus(l.Digest)
	}
	d.leaves = append(d.leaves, leaves...)
	return nil
}
