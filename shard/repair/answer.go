package repair

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Answer says what this node has. It is what a peer's [Exchange] brings, and each walk asks it of this node too.
func (r *Repairer) Answer(ctx context.Context, q Question) (*Answer, error) {
	if err := q.check(); err != nil {
		return nil, fmt.Errorf("answer a peer: %w", err)
	}
	a := &Answer{Kind: q.Kind, Epoch: r.members.View().Ring.Epoch(), Deletes: r.o.Deletes(), Oldest: r.o.Oldest(), Hints: r.o.Hints(q.From)}
	var err error
	switch q.Kind {
	case Sums:
		a.Cold, a.Hot, err = r.sums(ctx, q)
	case Leaves:
		if a.Leaves, err = r.leaves(ctx, q); err == nil {
			a.Leaves, a.Upto = page(a.Leaves)
		}
	case Pieces:
		a.Pieces, err = r.pieces(ctx, q)
	case Series:
		if a.Series, err = r.series(ctx, q); len(a.Series) > maxSeries {
			a.Series, a.More = a.Series[:maxSeries], true
		}
	case Copied:
		a.Done, a.Gained = r.promise(q)
	}
	if err != nil {
		return nil, fmt.Errorf("answer a peer: %w", err)
	}
	return a, nil
}

const (
	digestDuty = 0.25            // the part of its time that working digests out takes
	restFor    = 5 * time.Second // as long as it rests: peers do not wait for ever
)

// gently is the context in which the store works digests out.
func (r *Repairer) gently(ctx context.Context) context.Context {
	cycle := duty.Cycle{Now: r.o.Now, Wait: r.rest}
	until := r.o.Now().Add(restFor)
	return duty.Resting(ctx, func() {
		if r.o.Now().Before(until) {
			cycle.Rest(ctx, digestDuty)
		}
	})
}

// leaves returns all leaves that a question is about.
func (r *Repairer) leaves(ctx context.Context, q Question) ([]shard.Leaf, error) {
	if q.Mint == q.Maxt || q.Parts.Len() == 0 { // a store that nobody asks for digests need not keep them
		return nil, nil
	}
	leaves, err := r.store.Digests(shard.Within(r.gently(ctx), q.Parts), q.Mint, q.Maxt-1)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(leaves, func(l shard.Leaf) bool {
		return l.Window < q.Mint || l.Window >= q.Maxt || l.Digest.IsZero() || !q.Parts.Has(l.Partition)
	}), nil
}

// page cuts leaves where there are too many for one answer, but never within a partition.
func page(leaves []shard.Leaf) (_ []shard.Leaf, upto int) {
	n := maxLeaves
	if len(leaves) <= n {
		return leaves, shard.Partitions
	}
	p := leaves[n].Partition
	for n > 0 && leaves[n-1].Partition == p {
		n--
	}
	if n > 0 {
		return leaves[:n], int(p)
	}
	for n < len(leaves) && leaves[n].Partition == p {
		n++
	}
	return leaves[:n], int(p) + 1
}

// sums answers a question for sums. Those of all partitions before the cut are kept for a while: summing them up again
// for each peer would cost more than all the rest, and hardly anything changes there.
func (r *Repairer) sums(ctx context.Context, q Question) (cold, hot []Sum, err error) {
	old, err := r.coldSums(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	recent, err := r.byPartition(ctx, q.Parts, q.Cut, q.Maxt)
	if err != nil {
		return nil, nil, err
	}
	return group(old, q), group(recent, q), nil
}

// byPartition returns the sums of single partitions.
func (r *Repairer) byPartition(ctx context.Context, parts *shard.Set, mint, maxt int64) (sums []Sum, err error) {
	leaves, err := r.leaves(ctx, Question{Parts: parts, Mint: mint, Maxt: maxt})
	for _, l := range leaves {
		sums = add(sums, l.Partition, l.Digest)
	}
	return sums, err
}

// add adds a digest to the sum of a group, which is the last one or comes behind it.
func add(sums []Sum, group uint16, d series.Digest) []Sum {
	if n := len(sums); n > 0 && sums[n-1].Group == group {
		sums[n-1].Digest = sums[n-1].Digest.Plus(d)
		return sums
	}
	return append(sums, Sum{group, d})
}

// group makes of the sums of partitions those of the groups of a question.
func group(partitions []Sum, q Question) (sums []Sum) {
	for _, s := range partitions {
		if q.Parts.Has(s.Group) {
			sums = add(sums, s.Group>>q.Shift, s.Digest)
		}
	}
	return sums
}

// cached is the sums of all partitions, which need not be the latest.
type cached struct {
	mint, cut int64
	at        int64 // when they were made, ms
	sums      []Sum
}

const maxCached = 4 // peers whose clocks are apart ask for other windows

func (r *Repairer) coldSums(ctx context.Context, q Question) ([]Sum, error) {
	if q.Fresh || q.Shift != rootShift {
		return r.byPartition(ctx, q.Parts, q.Mint, q.Cut)
	}
	now := r.now()
	r.mu.Lock()
	r.cache = slices.DeleteFunc(r.cache, func(c cached) bool { return now < c.at || now-c.at > r.o.Interval.Milliseconds()/2 })
	i := slices.IndexFunc(r.cache, func(c cached) bool { return c.mint == q.Mint && c.cut == q.Cut })
	if i >= 0 {
		sums := r.cache[i].sums
		r.mu.Unlock()
		return sums, nil
	}
	r.mu.Unlock()
	sums, err := r.byPartition(ctx, shard.All(), q.Mint, q.Cut)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) >= maxCached {
		r.cache = r.cache[1:]
	}
	r.cache = append(r.cache, cached{q.Mint, q.Cut, now, sums})
	return sums, nil
}

// forget empties the cache: this node has got samples.
func (r *Repairer) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache = nil
}

// series returns the digests of all series that a question is about.
func (r *Repairer) series(ctx context.Context, q Question) ([]series.SeriesDigest, error) {
	all, err := r.store.SeriesDigests(shard.Within(r.gently(ctx), q.Parts), q.Mint)
	if err != nil || q.After == (series.ID{}) {
		return all, err
	}
	i, found := slices.BinarySearchFunc(all, q.After, func(s series.SeriesDigest, id series.ID) int { return s.ID.Compare(id) })
	if found {
		i++
	}
	return all[i:], nil
}

// differing returns the groups of which two nodes have different sums.
func differing(a, b []Sum) (groups []uint16) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Group < b[0].Group:
			groups, a = append(groups, a[0].Group), a[1:]
		case len(a) == 0 || b[0].Group < a[0].Group:
			groups, b = append(groups, b[0].Group), b[1:]
		default:
			if a[0].Digest != b[0].Digest {
				groups = append(groups, a[0].Group)
			}
			a, b = a[1:], b[1:]
		}
	}
	return groups
}
