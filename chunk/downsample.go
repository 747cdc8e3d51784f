package chunk

import (
	"fmt"
	"math"
)

// BucketEnd returns the end of the bucket that t lies in, at a resolution (both ms). Buckets are aligned and
// open on the left, (end−resolution, end], as PromQL's windows are: so a query whose step and range are multiples
// of the resolution is answered from buckets as from samples.
func BucketEnd(t, resolution int64) int64 {
	n := t / resolution
	if t > n*resolution {
		n++
	}
	if n > math.MaxInt64/resolution {
		return math.MaxInt64
	}
	return n * resolution
}

// A Downsampler makes the statistics of buckets out of the chunks of series. It keeps its memory from series to series.
type Downsampler struct {
	Resolution int64 // ms

	cols Columns
}

// Append appends the statistics of the buckets of chunks, which are of one series, in time order and do not overlap, to
// dst. A chunk that lies whole in a bucket is not decoded. Histograms are left out. The last element of dst, if any, must be
// of an earlier bucket.
func (d *Downsampler) Append(dst []Stats, chunks []Chunk) ([]Stats, error) {
	end := int64(math.MinInt64) // of the open bucket, which is the last of dst
	open := func(t int64) *Stats {
		if len(dst) == 0 || t > end || end == math.MinInt64 {
			end = BucketEnd(t, d.Resolution)
			dst = append(dst, NoStats())
		}
		return &dst[len(dst)-1]
	}
	for i := range chunks {
		c := &chunks[i]
		switch {
		case c.Encoding == Downsampled:
			fine, err := c.AppendBuckets(nil)
			if err != nil {
				return nil, fmt.Errorf("downsample: %w", err)
			}
			for _, s := range fine {
				open(s.MaxTime).Add(s)
			}
		case !isFloat(c):
		case BucketEnd(c.MinTime, d.Resolution) == BucketEnd(c.MaxTime, d.Resolution):
			open(c.MinTime).Add(c.Stats)
		default:
			d.cols.Reset()
			if err := c.AppendTo(&d.cols); err != nil {
				return nil, fmt.Errorf("downsample: %w", err)
			}
			for j, t := range d.cols.T {
				open(t).Observe(t, d.cols.V[j])
			}
		}
	}
	return dst, nil
}
