package remote

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// counts is what a request holds, or what of it was written.
type counts struct{ samples, histograms, exemplars int }

// A decoder turns the wire bytes of a request into a batch. It keeps its memory
// between requests; the batch points into it and into the wire bytes.
type decoder struct {
	lease lease
	batch series.Batch
	sent  counts

	message []byte   // 2.0: the request, in which the symbols lie
	keys    []byte   // keys that do not lie in the request as they are
	symbols []symbol // 2.0
	refs    []uint32 // 2.0: label references of the series at hand
	exRefs  []uint32 // 2.0: and of the exemplar at hand
	pairs   []pair   // labels of the exemplar at hand
	builder labels.ScratchBuilder
	known   map[string]string // texts of metadata, so that each is allocated once
}

// A symbol is where a string of the 2.0 symbol table lies in the request.
type symbol struct {
	off, len uint32
	meta     uint32 // as a metric name: 1 + the index of its entry in batch.Metadata
}

type pair struct{ name, value []byte }

// reset forgets the last request.
func (d *decoder) reset() {
	d.batch.Reset()
	d.sent, d.message = counts{}, nil
	d.keys, d.symbols, d.refs, d.exRefs = d.keys[:0], d.symbols[:0], d.refs[:0], d.exRefs[:0]
	clear(d.pairs)
	d.pairs = d.pairs[:0]
}

// footprint is the memory that the decoder keeps for the next request.
func (d *decoder) footprint() int64 {
	b := &d.batch
	return footprint(d.keys) + footprint(d.symbols) + footprint(d.refs) + footprint(d.exRefs) + footprint(d.pairs) +
		footprint(b.Series) + footprint(b.Samples) + footprint(b.Histograms) + footprint(b.Exemplars) + footprint(b.Metadata)
}

// A mark is how far the batch was filled when a series began.
type mark struct {
	samples, histograms, exemplars int
	sent                           counts
}

func (d *decoder) mark() mark {
	return mark{len(d.batch.Samples), len(d.batch.Histograms), len(d.batch.Exemplars), d.sent}
}

// add closes a series that began at m. One that brings nothing to store leaves nothing.
func (d *decoder) add(key []byte, m mark) (err error) {
	b := &d.batch
	n := len(b.Samples) - m.samples
	if n == 0 && len(b.Histograms) == m.histograms && len(b.Exemplars) == m.exemplars {
		return nil
	}
	if len(b.Series) == cap(b.Series) {
		if b.Series, err = room(&d.lease, b.Series, 1); err != nil {
			return err
		}
	}
	b.Series = append(b.Series, series.Entry{Key: key, First: m.samples, Count: n})
	return nil
}

// sample reads the Sample b[i:] and appends it. The bits of the value pass as they
// are: a stale marker is one NaN among many. Of a start timestamp, whose field number the version
// gives, only the type is looked at: it is not stored.
func (d *decoder) sample(b []byte, i, start int) (err error) {
	var v, t uint64
	from := i
	// What every encoder writes: the value, then the time, and nothing else.
	if len(b)-i > 10 && b[i] == 0x09 && b[i+9] == 0x10 {
		v, _ = fixed64(b, i+1)
		t, i = uvarint(b, i+10)
	}
	if i != len(b) {
		if v, t, err = sampleAnyway(b, from, start); err != nil {
			return err
		}
	}
	s := d.batch.Samples
	if len(s) == cap(s) {
		if s, err = room(&d.lease, s, 1); err != nil {
			return err
		}
	}
	d.batch.Samples = append(s, series.Sample{T: int64(t), V: math.Float64frombits(v)})
	d.sent.samples++
	return nil
}

// sampleAnyway reads a Sample whose fields come in any order and number.
func sampleAnyway(b []byte, i, start int) (v, t uint64, err error) {
	for i < len(b) {
		at := i
		num, typ, next := tag(b, i)
		switch {
		case next < 0:
			i = -1
		case num == 1 && typ == wireFixed64:
			v, i = fixed64(b, next)
		case num == 2 && typ == wireVarint:
			t, i = uvarint(b, next)
		case num <= 2 || num == start && typ != wireVarint:
			i = -1
		default:
			i = skip(b, next, typ)
		}
		if i < 0 {
			return 0, 0, malformed("a sample", at)
		}
	}
	return v, t, nil
}
