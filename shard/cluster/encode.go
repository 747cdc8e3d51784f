package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/chunk/series"
)

// Tags of a remote_write 1.0 message, all of them length-delimited fields:
//
//	WriteRequest: 1 timeseries, 3 metadata
//	TimeSeries:   1 labels (the frames of a key), 2 samples, 3 exemplars, 4 histograms
const (
	tagSeries     = 0x0a
	tagMetadata   = 0x1a
	tagSample     = 0x12
	tagExemplar   = 0x1a
	tagHistogram  = 0x22
	tagLabel      = 0x0a
	tagLabelName  = 0x0a
	tagLabelValue = 0x12
)

// appendSeries appends a TimeSeries. more are its exemplars and histograms as appendExemplar and appendHistogram make them.
func appendSeries(dst, key []byte, samples []series.Sample, more []byte) []byte {
	n := len(key) + len(more)
	for i := range samples {
		n += 2 + sampleSize(samples[i].T)
	}
	dst = append(dst, tagSeries)
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = append(dst, key...)
	for i := range samples {
		s := &samples[i]
		// Always both fields, the value first: the form that a reader has a short way for.
		var b [22]byte
		b[0], b[1], b[2] = tagSample, byte(sampleSize(s.T)), 0x09
		binary.LittleEndian.PutUint64(b[3:], math.Float64bits(s.V))
		b[11] = 0x10
		w := binary.PutUvarint(b[12:], uint64(s.T))
		dst = append(dst, b[:12+w]...)
	}
	return append(dst, more...)
}

// sampleSize is the size of a Sample: a double and a varint, each with its tag.
func sampleSize(t int64) int { return 10 + (bits.Len64(uint64(t)|1)+6)/7 }

// appendExemplar appends an exemplar as a field of a TimeSeries.
func appendExemplar(dst []byte, e *series.Exemplar) []byte {
	n := 0
	e.Labels.Range(func(l labels.Label) { n += 1 + prefixed(labelSize(l)) })
	n += 9
	if e.HasTs {
		n += 1 + uvarintLen(uint64(e.Ts))
	}
	dst = binary.AppendUvarint(append(dst, tagExemplar), uint64(n))
	e.Labels.Range(func(l labels.Label) {
		dst = binary.AppendUvarint(append(dst, tagLabel), uint64(labelSize(l)))
		dst = appendString(append(dst, tagLabelName), l.Name)
		dst = appendString(append(dst, tagLabelValue), l.Value)
	})
	dst = binary.LittleEndian.AppendUint64(append(dst, 0x11), math.Float64bits(e.Value))
	if e.HasTs {
		dst = binary.AppendUvarint(append(dst, 0x18), uint64(e.Ts))
	}
	return dst
}

func labelSize(l labels.Label) int {
	return 2 + prefixed(len(l.Name)) + prefixed(len(l.Value))
}

// prefixed is the size of n bytes with their length before them.
func prefixed(n int) int { return uvarintLen(uint64(n)) + n }

func uvarintLen(x uint64) int { return (bits.Len64(x|1) + 6) / 7 }

// appendHistogram appends a histogram as a field of a TimeSeries.
func appendHistogram(dst []byte, h *series.Histogram) ([]byte, error) {
	var p prompb.Histogram
	switch {
	case h.Int != nil:
		p = prompb.FromIntHistogram(h.T, h.Int)
	case h.Float != nil:
		p = prompb.FromFloatHistogram(h.T, h.Float)
	default:
		return dst, errors.New("a histogram has neither counts nor floats")
	}
	return appendMessage(dst, tagHistogram, &p)
}

var metricTypes = map[model.MetricType]prompb.MetricMetadata_MetricType{
	model.MetricTypeCounter:        prompb.MetricMetadata_COUNTER,
	model.MetricTypeGauge:          prompb.MetricMetadata_GAUGE,
	model.MetricTypeHistogram:      prompb.MetricMetadata_HISTOGRAM,
	model.MetricTypeGaugeHistogram: prompb.MetricMetadata_GAUGEHISTOGRAM,
	model.MetricTypeSummary:        prompb.MetricMetadata_SUMMARY,
	model.MetricTypeInfo:           prompb.MetricMetadata_INFO,
	model.MetricTypeStateset:       prompb.MetricMetadata_STATESET,
}

// appendMetadata appends metadata as a field of a WriteRequest.
func appendMetadata(dst []byte, m *series.Metadata) ([]byte, error) {
	return appendMessage(dst, tagMetadata, &prompb.MetricMetadata{
		Type: metricTypes[m.Type], MetricFamilyName: m.Family, Unit: m.Unit, Help: m.Help,
	})
}

// appendMessage appends what generated code encodes.
func appendMessage(dst []byte, tag byte, m interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}) ([]byte, error) {
	n := m.Size()
	dst = binary.AppendUvarint(append(dst, tag), uint64(n))
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	if _, err := m.MarshalToSizedBuffer(dst[at:]); err != nil {
		return dst, fmt.Errorf("encode a write: %w", err)
	}
	return dst, nil
}
