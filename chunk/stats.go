package chunk

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Stats are the statistics of a run of samples of one series. Stale markers
// are counted and otherwise left out, as PromQL does; NaN makes a sum NaN and is left
// out of minimum and maximum unless there is nothing else. Of histograms there
// are times and counts only, the rest is NaN.
type Stats struct {
	MinTime  int64  // ms, of all samples; meaningless if Samples is 0
	MaxTime  int64  // ms, of all samples
	Samples  uint64 // all of them, stale markers too
	Stale    uint64 // stale markers among them
	Sum      float64
	Min      float64
	Max      float64
	First    float64 // the first that is not a stale marker
	Last     float64 // the last that is not a stale marker
	Increase float64 // Last − First, plus what was lost at every reset between them

	// comp is what Sum could not hold (Neumaier's compensation), kept while adding.
	comp float64
}

// NoStats are the statistics of no samples: the zero of [Stats.Add].
func NoStats() Stats {
	nan := math.NaN()
	return Stats{Min: nan, Max: nan, First: nan, Last: nan}
}

// Count is the number of samples that are not stale markers.
func (s *Stats) Count() uint64 { return s.Samples - s.Stale }

// Total is the sum with what its additions rounded away.
func (s *Stats) Total() float64 {
	if math.IsInf(s.Sum, 0) {
		return s.Sum // comp is NaN then
	}
	return s.Sum + s.comp
}

// Observe adds a sample that is later than all before it.
func (s *Stats) Observe(t int64, v float64) {
	if s.Samples == 0 {
		s.MinTime = t
	}
	s.MaxTime = t
	s.Samples++
	if value.IsStaleNaN(v) {
		s.Stale++
		return
	}
	if s.Count() == 1 {
		s.First, s.Min, s.Max = v, v, v
	} else {
		s.Increase += step(s.Last, v)
		s.Min, s.Max = minOf(s.Min, v), maxOf(s.Max, v)
	}
	s.Last = v
	s.Sum, s.comp = neumaier(s.Sum, s.comp, v)
}

// ObserveHistogram adds a histogram that is later than all samples before it.
func (s *Stats) ObserveHistogram(t int64, sum float64) {
	if s.Samples == 0 {
		s.MinTime = t
	}
	s.MaxTime = t
	s.Samples++
	if value.IsStaleNaN(sum) {
		s.Stale++
	}
	nan := math.NaN()
	s.Sum, s.Min, s.Max, s.First, s.Last, s.Increase = nan, nan, nan, nan, nan, nan
}

// Add adds the statistics of samples of the same series that are all later than these.
func (s *Stats) Add(o Stats) {
	switch {
	case o.Samples == 0:
		return
	case s.Samples == 0:
		*s = o
		return
	}
	if o.Count() > 0 {
		if s.Count() == 0 {
			s.First, s.Min, s.Max, s.Increase = o.First, o.Min, o.Max, o.Increase
		} else {
			s.Increase += step(s.Last, o.First) + o.Increase
			s.Min, s.Max = minOf(s.Min, o.Min), maxOf(s.Max, o.Max)
		}
		s.Last = o.Last
		s.Sum, s.comp = neumaier(s.Sum, s.comp+o.comp, o.Sum)
	}
	s.MaxTime = o.MaxTime
	s.Samples += o.Samples
	s.Stale += o.Stale
}

// AddSeries adds the statistics of another series: counts, sum, minimum and
// maximum. First and Last become those of the earlier first and the later last
// sample; Increase adds up.
func (s *Stats) AddSeries(o Stats) {
	switch {
	case o.Count() == 0:
		return
	case s.Count() == 0:
		*s = o
		return
	}
	if o.MinTime < s.MinTime {
		s.MinTime, s.First = o.MinTime, o.First
	}
	if o.MaxTime > s.MaxTime {
		s.MaxTime, s.Last = o.MaxTime, o.Last
	}
	s.Min, s.Max = minOf(s.Min, o.Min), maxOf(s.Max, o.Max)
	s.Increase += o.Increase
	s.Sum, s.comp = neumaier(s.Sum, s.comp+o.comp, o.Sum)
	s.Samples += o.Samples
	s.Stale += o.Stale
}

// ObserveAll adds all samples of an iterator and returns its error.
func (s *Stats) ObserveAll(it chunkenc.Iterator) error {
	for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
		if vt == chunkenc.ValFloat {
			s.Observe(it.At())
		} else {
			t, h := it.AtFloatHistogram(nil)
			s.ObserveHistogram(t, h.Sum)
		}
	}
	return it.Err()
}

// measured is the memory of Measure.
var measured = sync.Pool{New: func() any { return new(Columns) }}

// Measure decodes a chunk and returns its statistics.
func (c Chunk) Measure() (Stats, error) {
	s := NoStats()
	switch {
	case isFloat(&c):
		cols := measured.Get().(*Columns)
		defer measured.Put(cols)
		cols.Reset()
		err := c.AppendTo(cols)
		s.ObserveColumns(*cols)
		return s, err
	case c.Encoding == Downsampled:
		buckets, err := c.AppendBuckets(nil)
		for _, b := range buckets {
			s.Add(b)
		}
		return s, err
	}
	d, err := c.Decode()
	if err != nil {
		return s, err
	}
	err = s.ObserveAll(d.Iterator(nil))
	return s, err
}

// AppendTo appends the statistics as they go over the wire: times as varints, counts as uvarints, and the others as they are
// in memory, with what the sum could not hold.
func (s *Stats) AppendTo(b []byte) []byte {
	b = binary.AppendVarint(b, s.MinTime)
	b = binary.AppendVarint(b, s.MaxTime)
	b = binary.AppendUvarint(b, s.Samples)
	b = binary.AppendUvarint(b, s.Stale)
	for _, x := range []float64{s.Sum, s.comp, s.Min, s.Max, s.First, s.Last, s.Increase} {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

// StatsFromBytes is the inverse of AppendTo. It returns what is behind the statistics.
func StatsFromBytes(b []byte) (s Stats, rest []byte, err error) {
	r := bucketReader{b: b}
	s.MinTime, s.MaxTime, s.Samples, s.Stale = r.varint(), r.varint(), r.uvarint(), r.uvarint()
	floats := r.bytes(7 * 8)
	if r.bad || s.Stale > s.Samples || s.Samples > 0 && s.MinTime > s.MaxTime {
		return NoStats(), nil, errors.New("the statistics of samples are broken")
	}
	for i, x := range []*float64{&s.Sum, &s.comp, &s.Min, &s.Max, &s.First, &s.Last, &s.Increase} {
		*x = math.Float64frombits(binary.BigEndian.Uint64(floats[8*i:]))
	}
	return s, r.b, nil
}

// step is what a counter gained from a to b: after a reset it began at zero.
func step(a, b float64) float64 {
	if b < a {
		return b
	}
	return b - a
}

func minOf(a, b float64) float64 {
	if b < a || math.IsNaN(a) {
		return b
	}
	return a
}

func maxOf(a, b float64) float64 {
	if b > a || math.IsNaN(a) {
		return b
	}
	return a
}

// neumaier adds v to sum and returns the new sum and compensation (Neumaier
// 1974, as PromQL's sum_over_time does).
func neumaier(sum, comp, v float64) (float64, float64) {
	t := sum + v
	switch {
	case math.IsInf(t, 0):
		return t, 0
	case math.Abs(sum) >= math.Abs(v):
		comp += (sum - t) + v
	default:
		comp += (v - t) + sum
	}
	return t, comp
}
