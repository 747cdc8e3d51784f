package chunk

import (
	"fmt"
	"math"
	"sort"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Columns are float samples in time order: times in milliseconds, and beside them the values.
type Columns struct {
	T []int64
	V []float64
}

// Reset forgets the samples and keeps the memory.
func (c *Columns) Reset() { c.T, c.V = c.T[:0], c.V[:0] }

// AppendTo appends all samples of a float chunk to dst; of a Downsampled one, the last sample of each bucket.
// After an error dst is as it was.
func (c Chunk) AppendTo(dst *Columns) error {
	n := len(dst.T)
	var err error
	switch c.Encoding {
	case XOR:
		err = appendXOR(dst, c.Data)
	case Dense:
		err = c.appendDense(dst)
	case Downsampled:
		err = c.appendLast(dst)
	default:
		return fmt.Errorf("decode chunk: %v has no columns", c.Encoding)
	}
	if err != nil {
		dst.T, dst.V = dst.T[:n], dst.V[:n]
		return fmt.Errorf("decode %v chunk: %w", c.Encoding, err)
	}
	return nil
}

// Iterator returns an iterator over the samples of a chunk, which reuses another if it can.
func (c Chunk) Iterator(reuse chunkenc.Iterator) (chunkenc.Iterator, error) {
	if c.Encoding != Dense && c.Encoding != Downsampled {
		d, err := c.Decode()
		if err != nil {
			return nil, err
		}
		return d.Iterator(reuse), nil
	}
	it, ok := reuse.(*columnsIterator)
	if !ok {
		it = &columnsIterator{}
	}
	it.cols.Reset()
	it.i = -1
	return it, c.AppendTo(&it.cols)
}

// columnsIterator iterates over decoded samples.
type columnsIterator struct {
	cols Columns
	i    int
}

func (it *columnsIterator) here() chunkenc.ValueType {
	if it.i >= len(it.cols.T) {
		it.i = len(it.cols.T)
		return chunkenc.ValNone
	}
	return chunkenc.ValFloat
}

func (it *columnsIterator) Next() chunkenc.ValueType {
	it.i++
	return it.here()
}

func (it *columnsIterator) Seek(t int64) chunkenc.ValueType {
	from := max(it.i, 0)
	it.i = from + sort.Search(len(it.cols.T)-from, func(i int) bool { return it.cols.T[from+i] >= t })
	return it.here()
}

func (it *columnsIterator) At() (int64, float64) { return it.cols.T[it.i], it.cols.V[it.i] }
func (it *columnsIterator) AtT() int64           { return it.cols.T[it.i] }
func (it *columnsIterator) AtST() int64          { return 0 }
func (it *columnsIterator) Err() error           { return nil }

func (it *columnsIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return it.cols.T[it.i], nil
}

func (it *columnsIterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return it.cols.T[it.i], nil
}

// ObserveColumns adds samples that are later than all before them, with the same result as [Stats.Observe] of each.
func (s *Stats) ObserveColumns(c Columns) {
	t, v := c.T, c.V
	for len(v) > 0 && s.Count() == 0 { // the first is different
		s.Observe(t[0], v[0])
		t, v = t[1:], v[1:]
	}
	if len(v) == 0 {
		return
	}
	sum, comp, last, increase, low, high := s.Sum, s.comp, s.Last, s.Increase, s.Min, s.Max
	for _, x := range v {
		// What step returns, without a branch that nobody predicts: x − 0 is x.
		var rose uint64
		if x >= last {
			rose = 1
		}
		increase += x - math.Float64frombits(math.Float64bits(last)&-rose)
		last = x
		if x < low {
			low = x
		}
		if x > high {
			high = x
		}
		// Both of Neumaier's branches are the rounding error of the addition, which TwoSum (Knuth) finds without one.
		total := sum + x
		b := total - sum
		comp += (sum - (total - b)) + (x - b)
		sum = total
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) || math.IsNaN(low) || math.IsNaN(comp) {
		for i, x := range v { // numbers were not all there was
			s.Observe(t[i], x)
		}
		return
	}
	s.Sum, s.comp, s.Last, s.Increase, s.Min, s.Max = sum, comp, last, increase, low, high
	s.Samples += uint64(len(v))
	s.MaxTime = t[len(t)-1]
}
