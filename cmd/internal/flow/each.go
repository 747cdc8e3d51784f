package flow

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk/series"
)

// most is how many samples one run holds.
const most = 4096

// Buffer makes runs of iterators, in memory that it uses again. The zero value is ready.
type Buffer struct{ r Run }

// Each calls emit for the samples of an iterator in [mint, maxt] (ms, inclusive).
func (b *Buffer) Each(ls labels.Labels, about *series.Metadata, it chunkenc.Iterator, mint, maxt int64, emit func(*Run) error) error {
	b.r = Run{Labels: ls, About: about, Floats: b.r.Floats[:0], Histograms: b.r.Histograms[:0]}
	for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
		if t := it.AtT(); t < mint || t > maxt {
			continue
		}
		switch vt {
		case chunkenc.ValFloat:
			t, v := it.At()
			b.r.Floats = append(b.r.Floats, series.Sample{T: t, V: v})
		case chunkenc.ValHistogram:
			t, h := it.AtHistogram(nil)
			b.r.Histograms = append(b.r.Histograms, series.Histogram{T: t, Int: h})
		default:
			t, h := it.AtFloatHistogram(nil)
			b.r.Histograms = append(b.r.Histograms, series.Histogram{T: t, Float: h})
		}
		if len(b.r.Floats) >= most || len(b.r.Histograms) >= most/32 {
			if err := b.flush(emit); err != nil {
				return err
			}
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	return b.flush(emit)
}

func (b *Buffer) flush(emit func(*Run) error) error {
	if b.r.Len() == 0 {
		return nil
	}
	err := emit(&b.r)
	clear(b.r.Histograms)
	b.r.Floats, b.r.Histograms = b.r.Floats[:0], b.r.Histograms[:0]
	return err
}

// Windows calls f for parts of [from, to] (ms, inclusive), each of a length at most, cut at its multiples.
func Windows(from, to, length int64, f func(mint, maxt int64) error) error {
	for mint := from; mint <= to; {
		maxt := to
		if rest := mint % length; rest < 0 {
			maxt = min(to, mint-rest-1)
		} else if mint <= math.MaxInt64-length {
			maxt = min(to, mint-rest+length-1)
		}
		if err := f(mint, maxt); err != nil {
			return err
		}
		if maxt == math.MaxInt64 {
			return nil
		}
		mint = maxt + 1
	}
	return nil
}
