package store

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Windows of package shard are those of package chunk.
const (
	_ = uint(chunk.Span - shard.WindowMillis)
	_ = uint(shard.WindowMillis - chunk.Span)
)

// windowOf is the number of the window that begins at a time, also of the first one of all, which begins before there are times.
func windowOf(start int64) int64 {
	if start%chunk.Span != 0 {
		return chunk.Window(math.MinInt64)
	}
	return start / chunk.Span
}

// Digests returns the digests of all samples that a query would read, by partition and by window that overlaps [mint, maxt] (ms), sorted; where
// there are none there is no leaf. They do not depend on how blocks are cut, nor on the order in which samples came. Those
// that downsampling made are not concerned.
//
// The first call reads much. Later ones read what has changed, but for samples that came in time order: these are added as they come.
func (s *Store) Digests(ctx context.Context, mint, maxt int64) ([]shard.Leaf, error) {
	s.startSums()
	asked := s.ledger.turn()
	defer s.ledger.done()
	ctx = s.ledger.alone(ctx)
	for {
		leaves, err := s.leaves(ctx, chunk.Window(mint), chunk.Window(maxt), asked)
		if err == nil {
			return leaves, nil
		}
		if !s.met(err) {
			return nil, fmt.Errorf("digests: %w", err)
		}
	}
}

// digest makes the digests of a new block while nobody waits for them, where others have asked for some: they would ask for these at once.
func (s *Store) digest(ctx context.Context, b *block.Block) error {
	s.gate.RLock()
	asked := s.sums
	s.gate.RUnlock()
	if !asked {
		return nil
	}
	_, err := b.Digests(ctx)
	return err
}

// startSums begins to add up digests: a node that nobody asks for them does not.
func (s *Store) startSums() {
	s.gate.RLock()
	on := s.sums
	s.gate.RUnlock()
	if on {
		return
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	if !s.sums {
		s.sums = true
		s.active.registry.Sum(s.past())
	}
}

// leaves returns the digests of the windows [first, last], as they are after a question came. The caller holds ledger.one.
func (s *Store) leaves(ctx context.Context, first, last int64, asked uint64) ([]shard.Leaf, error) {
	only := limit(ctx)
	whole := only == nil
	if whole {
		only = shard.All()
	}
	v := s.view()
	defer v.close()
	have, err := v.windows(ctx, first, last)
	if err != nil {
		return nil, err
	}
	ready := s.ready(have)
	var out []shard.Leaf
	for _, w := range slices.Sorted(maps.Keys(have)) {
		add := func(p uint16, sum series.Digest) {
			if !sum.IsZero() {
				out = append(out, shard.Leaf{Partition: p, Window: w * chunk.Span, Digest: sum})
			}
		}
		rest := have[w].alone(only, add)
		if rest.Len() == 0 {
			if r := ready[w]; r != nil && !r.live && whole {
				s.ledger.close(w)
			}
			continue
		}
		sums, err := s.known(ctx, w, rest, ready[w], asked)
		if err != nil {
			return nil, err
		}
		for p := range rest.Partitions() {
			add(p, sums.of(p))
		}
	}
	return byPartition(out), nil
}

// found is who has samples of a window.
type found struct {
	blocks []block.Digests
	masked []bool    // by block: a delete hides something of it in the window
	memory shard.Set // the partitions of which memory has some
}

// windows returns the windows among [first, last] in which there are samples.
func (v *view) windows(ctx context.Context, first, last int64) (map[int64]*found, error) {
	have := map[int64]*found{}
	in := func(w int64) *found {
		if have[w] == nil {
			have[w] = &found{}
		}
		return have[w]
	}
	for _, b := range v.blocks {
		if m := b.Meta(); chunk.Window(m.MinTime) > last || chunk.Window(m.MaxTime) < first {
			continue
		}
		all, err := b.Digests(ctx)
		if err != nil {
			return nil, err
		}
		for w, d := range all.Between(first, last).Windows() {
			f := in(w)
			f.blocks, f.masked = append(f.blocks, d), append(f.masked, v.masked(b, w))
		}
	}
	for _, t := range v.tables {
		for _, w := range t.Windows() {
			if first <= w && w <= last {
				t.Partitions(w, &in(w).memory)
			}
		}
	}
	return have, nil
}

// alone calls add for the partitions, of some, whose samples all lie in one block that nothing was deleted from, and returns those
// of which there are others.
func (f *found) alone(only *shard.Set, add func(uint16, series.Digest)) *shard.Set {
	rest := f.memory
	var once shard.Set
	for i, d := range f.blocks {
		for j := range d.Len() {
			if _, p, _ := d.At(j); f.masked[i] || once.Has(p) {
				rest.Add(p)
			} else {
				once.Add(p)
			}
		}
	}
	rest.Intersect(only)
	for _, d := range f.blocks {
		for j := range d.Len() {
			if _, p, sum := d.At(j); only.Has(p) && !rest.Has(p) {
				add(p, sum)
			}
		}
	}
	return &rest
}

// masked reports whether a delete hides something of a block in a window, or may.
func (v *view) masked(b *block.Block, window int64) bool {
	mint, maxt := chunk.WindowBounds(window)
	return slices.ContainsFunc(v.masks[b], func(h hidden) bool { return h.Min <= maxt && h.Max >= mint })
}

// byPartition sorts leaves, which are sorted by window and partition, by partition and window.
func byPartition(leaves []shard.Leaf) []shard.Leaf {
	var at [shard.Partitions + 1]int // where those of a partition begin, and then the next of them
	for _, l := range leaves {
		at[l.Partition+1]++
	}
	for p := range shard.Partitions {
		at[p+1] += at[p]
	}
	out := make([]shard.Leaf, len(leaves))
	for _, l := range leaves {
		out[at[l.Partition]] = l
		at[l.Partition]++
	}
	return out
}
