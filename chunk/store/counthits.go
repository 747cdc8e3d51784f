package store

import (
	"context"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// partHit is a series that is to be counted.
type partHit struct {
	hit
	partition uint16
}

// hits returns all series of the registries that are in the partitions, and those of blocks, and begins with what the blocks know.
func (c *counter) hits(ctx context.Context) (hits []partHit, err error) {
	byID := map[series.ID]int{}
	for _, r := range c.v.registries {
		for _, ref := range r.Within(c.parts) {
			if id := r.ID(ref); !has(byID, id) {
				byID[id] = len(hits)
				hits = append(hits, partHit{hit{id: id, registry: r, ref: ref}, r.Partition(ref)})
			}
		}
	}
	for _, b := range c.v.blocks {
		if m := b.Meta(); m.MinTime > c.maxt || m.MaxTime < c.mint {
			continue
		}
		all, err := b.Digests(ctx)
		if err != nil {
			return nil, err
		}
		var here shard.Set
		for d, i := all.Between(c.window, c.window), 0; i < d.Len(); i++ {
			if _, p, sum := d.At(i); c.parts.Has(p) {
				here.Add(p)
				c.counted.add(p, sum)
			}
		}
		if here.Len() == 0 {
			continue
		}
		if hits, err = appendHits(hits, byID, b, &here); err != nil {
			return nil, err
		}
	}
	return hits, nil
}

func has(byID map[series.ID]int, id series.ID) bool {
	_, ok := byID[id]
	return ok
}

// appendHits adds the series of a block that are in some partitions to hits.
func appendHits(hits []partHit, byID map[series.ID]int, b *block.Block, parts *shard.Set) ([]partHit, error) {
	ords, err := b.Postings()
	if err != nil {
		return nil, err
	}
	if ords, err = b.Within(ords, parts); err != nil {
		return nil, err
	}
	for _, ord := range ords {
		id, err := b.ID(ord)
		if err != nil {
			return nil, err
		}
		i, ok := byID[id]
		if !ok {
			p, err := b.Partition(ord)
			if err != nil {
				return nil, err
			}
			i = len(hits)
			byID[id] = i
			hits = append(hits, partHit{hit{id: id}, p})
		}
		hits[i].parts = append(hits[i].parts, part{b, ord})
	}
	return hits, nil
}
