package chunk

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Interval is a span of time, both ends inclusive, in milliseconds.
type Interval struct{ Min, Max int64 }

func (i Interval) holds(t int64) bool { return i.Min <= t && t <= i.Max }

// Without appends what is left of a chunk without the samples in some intervals to dst: the chunk itself when none of
// them touches it, nothing when it lies whole in one, and else what was encoded anew. Of a Downsampled chunk go the
// buckets that an interval touches, since nobody can say what is left in them.
func Without(dst []Chunk, c Chunk, gone []Interval) ([]Chunk, error) {
	touched := false
	for _, i := range gone {
		if i.Min <= c.MinTime && c.MaxTime <= i.Max {
			return dst, nil
		}
		touched = touched || i.Min <= c.MaxTime && i.Max >= c.MinTime
	}
	if !touched {
		return append(dst, c), nil
	}
	if c.Encoding == Downsampled {
		return withoutBuckets(dst, c, gone)
	}
	it, err := c.Iterator(nil)
	if err != nil {
		return nil, fmt.Errorf("cut chunk: %w", err)
	}
	return Encode(dst, &sieve{Iterator: it, gone: gone})
}

func withoutBuckets(dst []Chunk, c Chunk, gone []Interval) ([]Chunk, error) {
	buckets, err := c.AppendBuckets(nil)
	if err != nil {
		return nil, fmt.Errorf("cut chunk: %w", err)
	}
	left := slices.DeleteFunc(buckets, func(b Stats) bool {
		return slices.ContainsFunc(gone, func(i Interval) bool { return i.Min <= b.MaxTime && i.Max >= b.MinTime })
	})
	return EncodeBuckets(dst, left, c.resolution()), nil
}

// sieve lets through what lies in no interval.
type sieve struct {
	chunkenc.Iterator
	gone []Interval
}

func (s *sieve) Next() chunkenc.ValueType {
	for {
		vt := s.Iterator.Next()
		if vt == chunkenc.ValNone || !slices.ContainsFunc(s.gone, func(i Interval) bool { return i.holds(s.AtT()) }) {
			return vt
		}
	}
}
