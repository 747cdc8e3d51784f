package store

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
)

// Aggregate returns the statistics of the float samples in [mint, maxt] (ms,
// inclusive) of all series that the matchers select. Chunks that lie whole inside
// are answered from their statistics, and only the others are decoded.
func (s *Store) Aggregate(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (chunk.Stats, error) {
	v := s.view()
	defer v.close()
	total := chunk.NoStats()
	hits, err := v.find(ctx, mint, maxt, ms)
	if err != nil {
		return total, err
	}
	var cs []chunk.Chunk
	for i := range hits {
		if i%256 == 0 && ctx.Err() != nil {
			return total, ctx.Err()
		}
		var one chunk.Stats
		if one, cs, err = v.aggregate(cs[:0], &hits[i], mint, maxt); err != nil {
			return total, err
		}
		total.AddSeries(one)
	}
	return total, nil
}

// aggregate returns the statistics of one series, and buf to be used again.
func (v *view) aggregate(buf []chunk.Chunk, h *hit, mint, maxt int64) (chunk.Stats, []chunk.Chunk, error) {
	one := chunk.NoStats()
	cs, err := v.chunks(buf, h, mint, maxt, true)
	if err != nil {
		return one, buf, err
	}
	if !disjoint(cs) {
		// Merged samples are in no statistics. This is rare: late data that no flush or merge has settled yet.
		if cs, err = v.chunks(cs[:0], h, mint, maxt, false); err != nil {
			return one, buf, err
		}
		var it chain
		it.reset(cs, mint, maxt)
		err := observeFloats(&one, &it)
		return one, cs, err
	}
	var it chain
	for _, c := range cs {
		switch {
		case c.Encoding == chunk.Histogram || c.Encoding == chunk.FloatHistogram:
			continue
		case mint <= c.MinTime && c.MaxTime <= maxt:
			one.Add(c.Stats)
		default:
			edge := chunk.NoStats()
			it.reset([]chunk.Chunk{c}, mint, maxt)
			if err := observeFloats(&edge, &it); err != nil {
				return one, cs, err
			}
			one.Add(edge)
		}
	}
	return one, cs, nil
}

// observeFloats adds the float samples of an iterator, and leaves histograms out.
func observeFloats(s *chunk.Stats, it chunkenc.Iterator) error {
	for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
		if vt == chunkenc.ValFloat {
			s.Observe(it.At())
		}
	}
	return it.Err()
}

func disjoint(cs []chunk.Chunk) bool {
	for i := 1; i < len(cs); i++ {
		if cs[i].MinTime <= cs[i-1].MaxTime {
			return false
		}
	}
	return true
}
