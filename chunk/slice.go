package chunk

import (
	"sort"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk/series"
)

// Slice returns an iterator over samples in time order.
func Slice(samples []series.Sample) chunkenc.Iterator { return &slice{samples: samples, i: -1} }

type slice struct {
	samples []series.Sample
	i       int
}

func (s *slice) Next() chunkenc.ValueType {
	s.i++
	return s.here()
}

func (s *slice) here() chunkenc.ValueType {
	if s.i >= len(s.samples) {
		s.i = len(s.samples)
		return chunkenc.ValNone
	}
	return chunkenc.ValFloat
}

func (s *slice) Seek(t int64) chunkenc.ValueType {
	from := max(s.i, 0)
	s.i = from + sort.Search(len(s.samples)-from, func(i int) bool { return s.samples[from+i].T >= t })
	return s.here()
}

func (s *slice) At() (int64, float64) { return s.samples[s.i].T, s.samples[s.i].V }
func (s *slice) AtT() int64           { return s.samples[s.i].T }
func (s *slice) AtST() int64          { return 0 }
func (s *slice) Err() error           { return nil }

func (s *slice) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return s.samples[s.i].T, nil
}

func (s *slice) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return s.samples[s.i].T, nil
}
