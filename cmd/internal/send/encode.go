package send

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/minitrue/minitrue/chunk/series"
)

// Samples are encoded by hand and not by the generated code, which leaves a value out that equals zero, and with it the
// sign of −0.

// encoder makes the bodies of requests. Its memory is used again.
type encoder struct {
	out, ts, msg []byte
	symbols      map[string]uint32
	strings      []string
	refs         []byte
}

func field(num int) byte { return byte(num<<3 | 2) } // length-delimited, of a number below 16

func appendField(dst []byte, num int, b []byte) []byte {
	dst = append(dst, field(num))
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendString(dst []byte, num int, s string) []byte {
	dst = append(dst, field(num))
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendSample appends field 2 of a time series of either version.
func appendSample(dst []byte, s series.Sample) []byte {
	var v [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(v[:], uint64(s.T))
	dst = append(dst, field(2), byte(1+8+1+n), 1<<3|1)
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.V))
	dst = append(dst, 2<<3)
	return append(dst, v[:n]...)
}

// v1 encodes a prometheus.WriteRequest.
func (e *encoder) v1(b *batch) ([]byte, error) {
	e.out = e.out[:0]
	told := map[string]bool{}
	for i := range b.entries {
		s := &b.entries[i]
		e.ts = e.ts[:0]
		s.labels.Range(func(l labels.Label) {
			e.msg = appendString(appendString(e.msg[:0], 1, l.Name), 2, l.Value)
			e.ts = appendField(e.ts, 1, e.msg)
		})
		for _, f := range s.floats {
			e.ts = appendSample(e.ts, f)
		}
		for _, x := range s.exemplars {
			m := prompb.Exemplar{Labels: prompb.FromLabels(x.Labels, nil), Value: x.Value, Timestamp: x.Ts}
			if err := e.message(3, &m); err != nil {
				return nil, err
			}
		}
		for _, h := range s.histograms {
			var m prompb.Histogram
			if h.Int != nil {
				m = prompb.FromIntHistogram(h.T, h.Int)
			} else {
				m = prompb.FromFloatHistogram(h.T, h.Float)
			}
			if err := e.message(4, &m); err != nil {
				return nil, err
			}
		}
		e.out = appendField(e.out, 1, e.ts)
		if s.about == nil || told[s.about.Family] {
			continue
		}
		told[s.about.Family] = true
		m := prompb.MetricMetadata{Type: prompb.FromMetadataType(s.about.Type), MetricFamilyName: s.about.Family, Help: s.about.Help, Unit: s.about.Unit}
		raw, err := m.Marshal()
		if err != nil {
			return nil, err
		}
		e.out = appendField(e.out, 3, raw)
	}
	return e.out, nil
}

// message appends a field of the current time series.
func (e *encoder) message(num int, m interface{ Marshal() ([]byte, error) }) error {
	raw, err := m.Marshal()
	e.ts = appendField(e.ts, num, raw)
	return err
}

// v2 encodes an io.prometheus.write.v2.Request.
func (e *encoder) v2(b *batch) ([]byte, error) {
	if e.symbols == nil {
		e.symbols = map[string]uint32{}
	}
	clear(e.symbols)
	e.strings = append(e.strings[:0], "")
	e.symbols[""] = 0
	e.out = e.out[:0]
	for i := range b.entries {
		s := &b.entries[i]
		floats := len(s.floats) > 0 || len(s.histograms) == 0
		if floats {
			e.begin(s)
			for _, f := range s.floats {
				e.ts = appendSample(e.ts, f)
			}
			if err := e.end(s, true); err != nil {
				return nil, err
			}
		}
		if len(s.histograms) == 0 {
			continue
		}
		e.begin(s)
		for _, h := range s.histograms {
			var m writev2.Histogram
			if h.Int != nil {
				m = writev2.FromIntHistogram(0, h.T, h.Int)
			} else {
				m = writev2.FromFloatHistogram(0, h.T, h.Float)
			}
			if err := e.message(3, &m); err != nil {
				return nil, err
			}
		}
		if err := e.end(s, !floats); err != nil {
			return nil, err
		}
	}
	// The symbols come last: a message is the same in whatever order its fields are.
	for _, s := range e.strings {
		e.out = appendString(e.out, 4, s)
	}
	return e.out, nil
}

func (e *encoder) symbol(s string) uint32 {
	n, ok := e.symbols[s]
	if !ok {
		n = uint32(len(e.strings))
		e.symbols[s] = n
		e.strings = append(e.strings, s)
	}
	return n
}

// begin begins a time series of 2.0 with its labels.
func (e *encoder) begin(s *entry) {
	e.refs = e.refs[:0]
	s.labels.Range(func(l labels.Label) {
		e.refs = binary.AppendUvarint(e.refs, uint64(e.symbol(l.Name)))
		e.refs = binary.AppendUvarint(e.refs, uint64(e.symbol(l.Value)))
	})
	e.ts = appendField(e.ts[:0], 1, e.refs)
}

// end appends exemplars, if wanted, and metadata, and the time series to the request.
func (e *encoder) end(s *entry, exemplars bool) error {
	for _, x := range s.exemplars {
		if !exemplars {
			break
		}
		m := writev2.Exemplar{Value: x.Value, Timestamp: x.Ts}
		x.Labels.Range(func(l labels.Label) { m.LabelsRefs = append(m.LabelsRefs, e.symbol(l.Name), e.symbol(l.Value)) })
		if err := e.message(4, &m); err != nil {
			return err
		}
	}
	if a := s.about; a != nil {
		m := writev2.Metadata{Type: writev2.FromMetadataType(a.Type), HelpRef: e.symbol(a.Help), UnitRef: e.symbol(a.Unit)}
		if err := e.message(5, &m); err != nil {
			return err
		}
	}
	e.out = appendField(e.out, 5, e.ts)
	return nil
}
