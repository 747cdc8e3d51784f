package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
)

// SeriesDigests returns the digests of the samples that a query would read in one window (its start, ms; see shard.Window), by series, sorted
// by ID; series without samples there are left out.
func (s *Store) SeriesDigests(ctx context.Context, window int64) ([]series.SeriesDigest, error) {
	for {
		v := s.view()
		out, err := v.seriesDigests(ctx, windowOf(window))
		v.close()
		if err == nil {
			return out, nil
		}
		if !s.met(err) {
			return nil, fmt.Errorf("digests of series: %w", err)
		}
	}
}

func (v *view) seriesDigests(ctx context.Context, window int64) ([]series.SeriesDigest, error) {
	mint, maxt := chunk.WindowBounds(window)
	hits, err := v.find(ctx, mint, maxt, nil)
	if err != nil {
		return nil, err
	}
	var out []series.SeriesDigest
	var d chunk.Digester
	var chunks []chunk.Chunk
	var buf []byte
	for i := range hits {
		duty.Rest(ctx)
		if i%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		buf = buf[:0]
		if chunks, err = v.disjoint(chunks[:0], &buf, &hits[i], mint, maxt, nil); err != nil {
			return nil, err
		}
		one := series.SeriesDigest{ID: hits[i].id}
		for _, c := range chunks {
			err := d.Chunk(one.ID, c, mint, maxt, func(_ int64, sum series.Digest) { one.Digest = one.Digest.Plus(sum) })
			if err != nil {
				return nil, fmt.Errorf("series %s: %w", one.ID, err)
			}
		}
		if !one.Digest.IsZero() {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b series.SeriesDigest) int { return a.ID.Compare(b.ID) })
	return out, nil
}
