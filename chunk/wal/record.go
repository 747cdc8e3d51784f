package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/encoding"
	"github.com/prometheus/prometheus/tsdb/record"

	"github.com/minitrue/minitrue/chunk/series"
)

// Type says what a record holds. Its values are in files.
type Type uint8

const (
	Commit     Type = 1 // the log's own
	Series     Type = 2 // ref uvarint, key length uvarint, key; repeated
	Samples    Type = 3 // ref delta varint, time delta varint (ms), value 8 bytes; repeated
	Histograms Type = 4 // ref uvarint, time varint, float flag, length uvarint, histogram; repeated
	Exemplars  Type = 5 // ref uvarint, time varint, has-time flag, value 8 bytes, key length uvarint, key; repeated
	Metadata   Type = 6 // family, type, unit, help, each with its length as uvarint; repeated

	lastType = Metadata
)

func (t Type) String() string {
	switch t {
	case Commit:
		return "commit"
	case Series:
		return "series"
	case Samples:
		return "samples"
	case Histograms:
		return "histograms"
	case Exemplars:
		return "exemplars"
	case Metadata:
		return "metadata"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

var errRecord = errors.New("malformed record")

// AppendSeries adds a series to a Series record: what samples call ref has this key.
func AppendSeries(rec []byte, ref uint32, key []byte) []byte {
	return appendBytes(binary.AppendUvarint(rec, uint64(ref)), key)
}

// DecodeSeries calls f for every series of a record. Keys alias it.
func DecodeSeries(rec []byte, f func(ref uint32, key []byte) error) error {
	for d := (decoder{b: rec}); len(d.b) > 0; {
		ref, key := d.ref(), d.bytes()
		if d.bad {
			return errRecord
		}
		if err := f(ref, key); err != nil {
			return err
		}
	}
	return nil
}

// SampleEncoder builds a Samples record in Buf. The zero value begins one.
type SampleEncoder struct {
	Buf []byte
	ref uint32
	t   int64
}

// Reset begins a new record in the same memory.
func (e *SampleEncoder) Reset() { *e = SampleEncoder{Buf: e.Buf[:0]} }

// Add adds a sample at t (ms).
func (e *SampleEncoder) Add(ref uint32, t int64, v float64) {
	b := binary.AppendVarint(e.Buf, int64(ref)-int64(e.ref))
	b = binary.AppendVarint(b, t-e.t)
	e.Buf = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	e.ref, e.t = ref, t
}

// DecodeSamples calls f for every sample of a record.
func DecodeSamples(rec []byte, f func(ref uint32, t int64, v float64) error) error {
	var ref, t int64
	for len(rec) > 0 {
		dr, n := binary.Varint(rec)
		if n <= 0 {
			return errRecord
		}
		dt, m := binary.Varint(rec[n:])
		if m <= 0 || len(rec) < n+m+8 {
			return errRecord
		}
		ref, t = ref+dr, t+dt
		if ref < 0 || ref > math.MaxUint32 {
			return errRecord
		}
		v := math.Float64frombits(binary.LittleEndian.Uint64(rec[n+m:]))
		if err := f(uint32(ref), t, v); err != nil {
			return err
		}
		rec = rec[n+m+8:]
	}
	return nil
}

// AppendHistogram adds a histogram to a Histograms record.
func AppendHistogram(rec []byte, ref uint32, h series.Histogram) []byte {
	rec = binary.AppendVarint(binary.AppendUvarint(rec, uint64(ref)), h.T)
	var e encoding.Encbuf
	if h.Int != nil {
		record.EncodeHistogram(&e, h.Int)
		return appendBytes(append(rec, 0), e.Get())
	}
	record.EncodeFloatHistogram(&e, h.Float)
	return appendBytes(append(rec, 1), e.Get())
}

// DecodeHistograms calls f for every histogram of a record.
func DecodeHistograms(rec []byte, f func(ref uint32, h series.Histogram) error) error {
	for d := (decoder{b: rec}); len(d.b) > 0; {
		ref, t, kind, b := d.ref(), d.varint(), d.byte(), d.bytes()
		if d.bad || kind > 1 {
			return errRecord
		}
		h := series.Histogram{T: t}
		buf := encoding.Decbuf{B: b}
		if kind == 0 {
			h.Int = new(histogram.Histogram)
			record.DecodeHistogram(&buf, h.Int)
		} else {
			h.Float = new(histogram.FloatHistogram)
			record.DecodeFloatHistogram(&buf, h.Float)
		}
		if err := buf.Err(); err != nil {
			return err
		}
		if err := f(ref, h); err != nil {
			return err
		}
	}
	return nil
}

// AppendExemplar adds an exemplar to an Exemplars record.
func AppendExemplar(rec []byte, ref uint32, e exemplar.Exemplar) []byte {
	rec = binary.AppendVarint(binary.AppendUvarint(rec, uint64(ref)), e.Ts)
	has := byte(0)
	if e.HasTs {
		has = 1
	}
	rec = binary.LittleEndian.AppendUint64(append(rec, has), math.Float64bits(e.Value))
	return appendBytes(rec, series.AppendKey(nil, e.Labels))
}

// DecodeExemplars calls f for every exemplar of a record.
func DecodeExemplars(rec []byte, f func(ref uint32, e exemplar.Exemplar) error) error {
	var b labels.ScratchBuilder
	for d := (decoder{b: rec}); len(d.b) > 0; {
		ref, t, has, v, key := d.ref(), d.varint(), d.byte(), d.fixed64(), d.bytes()
		if d.bad {
			return errRecord
		}
		b.Reset()
		if err := series.EachLabel(key, func(name, value string) { b.Add(string([]byte(name)), string([]byte(value))) }); err != nil {
			return err
		}
		err := f(ref, exemplar.Exemplar{Labels: b.Labels(), Value: math.Float64frombits(v), Ts: t, HasTs: has == 1})
		if err != nil {
			return err
		}
	}
	return nil
}

// AppendMetadata adds a metric family to a Metadata record.
func AppendMetadata(rec []byte, m series.Metadata) []byte {
	for _, s := range []string{m.Family, string(m.Type), m.Unit, m.Help} {
		rec = appendBytes(rec, s)
	}
	return rec
}

// DecodeMetadata calls f for every metric family of a record.
func DecodeMetadata(rec []byte, f func(series.Metadata) error) error {
	for d := (decoder{b: rec}); len(d.b) > 0; {
		family, typ, unit, help := d.bytes(), d.bytes(), d.bytes(), d.bytes()
		if d.bad {
			return errRecord
		}
		m := series.Metadata{Family: string(family), Type: model.MetricType(typ), Unit: string(unit), Help: string(help)}
		if err := f(m); err != nil {
			return err
		}
	}
	return nil
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// decoder cuts fields off a record. After a field that is not there, bad is set and all fields are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) skip(n int) {
	if n <= 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) ref() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.bad = true
	}
	return uint32(v)
}

func (d *decoder) byte() (c byte) {
	if len(d.b) > 0 {
		c = d.b[0]
	}
	d.skip(1)
	return c
}

func (d *decoder) fixed64() (v uint64) {
	if len(d.b) >= 8 {
		v = binary.LittleEndian.Uint64(d.b)
	}
	d.skip(8)
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}
