package cluster

import (
	"context"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// What a batch of Fetch holds at most, or a little more.
const (
	fetchSamples    = 32768
	fetchHistograms = 256
)

// Fetch calls each with the samples and histograms in [mint, maxt] (ms, inclusive) that a node would read of the series in some partitions (nil:
// all of them), or of those among these that have given ids (nil: all). It does so whatever ring the node knows. A batch and its
// memory are valid until each returns.
func (r *Reader) Fetch(ctx context.Context, m shard.Member, parts *shard.Set, ids []series.ID, mint, maxt int64, each func(*series.Batch) error) error {
	if parts == nil {
		parts = shard.All()
	}
	if ids != nil && len(ids) == 0 {
		return nil
	}
	for {
		n := min(len(ids), maxIDs)
		f := fetcher{mint: mint, maxt: maxt, each: each}
		if err := f.run(ctx, r, m, parts, ids[:n]); err != nil {
			return fmt.Errorf("fetch from node %s: %w", m.ID, err)
		}
		if ids = ids[n:]; len(ids) == 0 {
			return nil
		}
	}
}

// fetcher makes batches of an answer to a scan.
type fetcher struct {
	mint, maxt int64
	each       func(*series.Batch) error

	batch series.Batch
	it    chunkenc.Iterator
}

// everything matches all series: each has the name of a metric.
var everything = labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, "")

func (f *fetcher) run(ctx context.Context, r *Reader, m shard.Member, parts *shard.Set, ids []series.ID) error {
	req := request{parts: parts, ids: ids, mint: f.mint, maxt: f.maxt, cut: always, sets: [][]*labels.Matcher{{everything}}}
	s := newScanReader(&budget{max: r.o.MaxBytes}, parts, r.o.DeviceLabel)
	err := r.stream(ctx, m, pathFetch, &req, func() {}, func(payload []byte) error {
		if err := s.frame(payload); err != nil {
			return err
		}
		for i := range s.keys {
			if err := f.add(s.keys[i], s.chunksOf(i)); err != nil {
				return err
			}
		}
		s.reset()
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return err
	}
	return f.flush()
}

// add adds the samples of a series, or of a part of one.
func (f *fetcher) add(key []byte, chunks []chunk.Chunk) error {
	f.begin(key)
	for _, c := range chunks {
		if c.Encoding == chunk.Downsampled {
			return fmt.Errorf("%w: there are buckets among its samples", errEntry)
		}
		var err error
		if f.it, err = c.Iterator(f.it); err != nil {
			return err
		}
		if err := f.samples(key); err != nil {
			return err
		}
	}
	if len(f.batch.Samples) < fetchSamples && len(f.batch.Histograms) < fetchHistograms {
		return nil
	}
	return f.flush()
}

func (f *fetcher) begin(key []byte) {
	f.batch.Series = append(f.batch.Series, series.Entry{Key: key, First: len(f.batch.Samples)})
}

// samples adds those that the iterator has in the range.
func (f *fetcher) samples(key []byte) error {
	b := &f.batch
	for vt := f.it.Next(); vt != chunkenc.ValNone; vt = f.it.Next() {
		t := f.it.AtT()
		if t < f.mint || t > f.maxt {
			continue
		}
		i := len(b.Series) - 1
		switch vt {
		case chunkenc.ValFloat:
			_, v := f.it.At()
			b.Samples = append(b.Samples, series.Sample{T: t, V: v})
			b.Series[i].Count++
		case chunkenc.ValHistogram:
			_, h := f.it.AtHistogram(nil)
			b.Histograms = append(b.Histograms, series.Histogram{Series: i, T: t, Int: h})
		default:
			_, h := f.it.AtFloatHistogram(nil)
			b.Histograms = append(b.Histograms, series.Histogram{Series: i, T: t, Float: h})
		}
		if len(b.Samples) >= fetchSamples || len(b.Histograms) >= fetchHistograms {
			if err := f.flush(); err != nil {
				return err
			}
			f.begin(key)
		}
	}
	return f.it.Err()
}

// flush hands over what there is.
func (f *fetcher) flush() error {
	if len(f.batch.Samples)+len(f.batch.Histograms) == 0 {
		f.batch.Reset()
		return nil
	}
	err := f.each(&f.batch)
	f.batch.Reset()
	return err
}
