package store

import (
	"context"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// batch is how many series a goroutine takes at a time.
const batch = 64

// Aggregate returns the statistics of the float samples in [mint, maxt] (ms,
// inclusive) of all series that the matchers select. Chunks that lie whole inside
// are answered from their statistics, and only the others are decoded. Where samples are no longer kept, buckets
// answer that are not longer than the range.
func (s *Store) Aggregate(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (chunk.Stats, error) {
	if maxt > mint {
		ctx = series.AllowResolution(ctx, max(series.Resolution(ctx), maxt-mint))
	}
	sel, err := s.Scan(ctx, mint, maxt, ms...)
	if err != nil {
		return chunk.NoStats(), err
	}
	defer sel.Close()
	// Sums round in the order in which they are added: that of the batches, whoever took them.
	parts := make([]chunk.Stats, (sel.Len()+batch-1)/batch)
	var wg sync.WaitGroup
	var next atomic.Int64
	var failed atomic.Pointer[error]
	for range min(runtime.GOMAXPROCS(0), len(parts)) {
		wg.Go(func() {
			var sc scratch
			for i := int(next.Add(1)) - 1; i < len(parts); i = int(next.Add(1)) - 1 {
				err := ctx.Err()
				if err == nil {
					parts[i], err = sel.aggregate(&sc, i*batch, min((i+1)*batch, sel.Len()))
				}
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	wg.Wait()
	total := chunk.NoStats()
	if err := failed.Load(); err != nil {
		return total, *err
	}
	for i := range parts {
		total.AddSeries(parts[i])
	}
	return total, nil
}

// scratch is memory that a goroutine uses again.
type scratch struct {
	chunks []chunk.Chunk
	data   []byte // of chunks
	cols   chunk.Columns
}

// aggregate returns the statistics of the series [from, to).
func (s *Selection) aggregate(sc *scratch, from, to int) (chunk.Stats, error) {
	total := chunk.NoStats()
	need := outside(s.mint, s.maxt)
	for i := from; i < to; i++ {
		var err error
		sc.data = sc.data[:0]
		if sc.chunks, err = s.Chunks(sc.chunks[:0], &sc.data, i, need); err != nil {
			return total, err
		}
		one := chunk.NoStats()
		for j := range sc.chunks {
			c := &sc.chunks[j]
			switch {
			case !isFloat(c):
				continue
			case !need(c.Serial, c.MinTime, c.MaxTime):
				one.Add(c.Stats)
				continue
			}
			sc.cols.Reset()
			if err := c.AppendTo(&sc.cols); err != nil {
				return total, err
			}
			t := sc.cols.T
			lo := sort.Search(len(t), func(i int) bool { return t[i] >= s.mint })
			hi := sort.Search(len(t), func(i int) bool { return t[i] > s.maxt })
			edge := chunk.NoStats()
			edge.ObserveColumns(chunk.Columns{T: t[lo:hi], V: sc.cols.V[lo:hi]})
			one.Add(edge)
		}
		total.AddSeries(one)
	}
	return total, nil
}
