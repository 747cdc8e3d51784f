package remote

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk/series"
)

// A sampleEncoder writes a prometheus.ReadResponse:
//
//	1 results: 1 timeseries: 1 labels, 2 samples, 4 histograms
type sampleEncoder struct {
	maxSamples, maxBytes int

	out, result, series []byte // finished results, the result at hand, the series at hand
	histograms          []byte // of the series at hand: they stand behind its samples
	samples             int

	h  *histogram.Histogram // memory for iterators
	fh *histogram.FloatHistogram
}

// samples answers with one snappy block.
func (h *readHandler) samples(ctx context.Context, w *readWriter, qs []query) error {
	e := &sampleEncoder{maxSamples: h.o.MaxSamples, maxBytes: h.o.MaxBytes,
		h: &histogram.Histogram{}, fh: &histogram.FloatHistogram{}}
	for i, q := range qs {
		if err := h.sampleResult(ctx, e, q); err != nil {
			return fmt.Errorf("query %d: %w", i+1, err)
		}
	}
	w.samples = e.samples
	if snappy.MaxEncodedLen(len(e.out)) < 0 {
		return errTooMuch("4 GiB")
	}
	w.Header().Set("Content-Type", typeProtobuf)
	w.Header().Set("Content-Encoding", "snappy")
	_, err := w.Write(snappy.Encode(nil, e.out))
	return err
}

func (h *readHandler) sampleResult(ctx context.Context, e *sampleEncoder, q query) error {
	querier, err := h.from.Querier(q.start, q.end)
	if err != nil {
		return err
	}
	defer querier.Close()
	e.result = e.result[:0]
	set := querier.Select(ctx, true, q.hints, q.matchers...)
	var it chunkenc.Iterator
	for set.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := set.At()
		it = s.Iterator(it)
		if err := e.addSeries(s, it); err != nil {
			return err
		}
	}
	h.warn(ctx, set.Warnings().AsErrors())
	e.out = appendBytesField(e.out, 0x0a, e.result)
	return set.Err()
}

func (e *sampleEncoder) addSeries(s storage.Series, it chunkenc.Iterator) error {
	e.series, e.histograms = series.AppendKey(e.series[:0], s.Labels()), e.histograms[:0]
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		if e.samples++; e.samples > e.maxSamples {
			return errTooMuch(fmt.Sprintf("%d samples", e.maxSamples))
		}
		if len(e.out)+len(e.result)+len(e.series)+len(e.histograms) > e.maxBytes {
			return errTooMuch(fmt.Sprintf("%d bytes", e.maxBytes))
		}
		if err := e.addSample(typ, it); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	e.series = append(e.series, e.histograms...)
	e.result = appendBytesField(e.result, 0x0a, e.series)
	return nil
}

func (e *sampleEncoder) addSample(typ chunkenc.ValueType, it chunkenc.Iterator) error {
	var p prompb.Histogram
	switch typ {
	case chunkenc.ValFloat:
		t, v := it.At()
		e.series = appendSample(e.series, t, v)
		return nil
	case chunkenc.ValHistogram:
		t, h := it.AtHistogram(e.h) // h may be the source's own: it is not memory for the next
		p = prompb.FromIntHistogram(t, h)
	case chunkenc.ValFloatHistogram:
		t, fh := it.AtFloatHistogram(e.fh)
		p = prompb.FromFloatHistogram(t, fh)
	default:
		return fmt.Errorf("a sample of the unknown type %v", typ)
	}
	b, err := p.Marshal()
	if err != nil {
		return err
	}
	e.histograms = appendBytesField(e.histograms, 0x22, b)
	return nil
}

// appendSample appends a Sample as field 2. Zeros are left out as encoders do, but
// not a negative zero, which is another value.
func appendSample(b []byte, t int64, v float64) []byte {
	b = append(b, 0x12, 0)
	lo := len(b)
	if bits := math.Float64bits(v); bits != 0 {
		b = append(b, 0x09)
		b = binary.LittleEndian.AppendUint64(b, bits)
	}
	if t != 0 {
		b = append(b, 0x10)
		b = binary.AppendUvarint(b, uint64(t))
	}
	b[lo-1] = byte(len(b) - lo) // at most 20
	return b
}

// appendBytesField appends a length-delimited field.
func appendBytesField(b []byte, tag byte, field []byte) []byte {
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(field)))
	return append(b, field...)
}

func errTooMuch(limit string) error {
	return &requestError{http.StatusBadRequest,
		"the answer has more than " + limit + ": ask for less time or fewer series, or accept STREAMED_XOR_CHUNKS, which has no limit"}
}
