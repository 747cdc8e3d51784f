package chunk

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
)

// appendHistogram appends bytes to dst that are equal for histograms that are: empty buckets do not matter, which chunks
// add and spans may name or not, nor does what is said of counter resets. Of a stale marker nothing else matters.
func appendHistogram(dst []byte, h *histogram.FloatHistogram) []byte {
	if value.IsStaleNaN(h.Sum) {
		return appendFloats(dst, h.Sum)
	}
	dst = binary.AppendVarint(dst, int64(h.Schema))
	dst = appendFloats(dst, h.Count, h.Sum, h.ZeroThreshold, h.ZeroCount)
	dst = appendBuckets(dst, h.PositiveSpans, h.PositiveBuckets)
	dst = appendBuckets(dst, h.NegativeSpans, h.NegativeBuckets)
	dst = binary.AppendUvarint(dst, uint64(len(h.CustomValues)))
	return appendFloats(dst, h.CustomValues...)
}

func appendFloats(dst []byte, vs ...float64) []byte {
	for _, v := range vs {
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

// appendBuckets appends how many buckets are not empty, and of each its index and its count.
func appendBuckets(dst []byte, spans []histogram.Span, buckets []float64) []byte {
	n := uint64(0)
	for _, b := range buckets {
		if b != 0 {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, n)
	index := int64(0)
	for _, s := range spans {
		index += int64(s.Offset)
		for range min(int64(s.Length), int64(len(buckets))) {
			if b := buckets[0]; b != 0 {
				dst = appendFloats(binary.AppendVarint(dst, index), b)
			}
			buckets = buckets[1:]
			index++
		}
	}
	return dst
}
