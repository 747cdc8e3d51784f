package remote

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/chunk/series"
)

// decodeV2 fills the batch from an io.prometheus.write.v2.Request:
//
//	4 symbols
//	5 timeseries: 1 label references, 2 samples, 3 histograms, 4 exemplars,
//	              5 metadata (1 type, 3 help reference, 4 unit reference)
//
// A series whose references lead nowhere is left out alone.
func (d *decoder) decodeV2(b []byte) error {
	d.message = b
	if err := d.readSymbols(b); err != nil {
		return err
	}
	n := 0
	for i := 0; i < len(b); {
		num, typ, next := tag(b, i)
		if num != 5 {
			i = skip(b, next, typ)
			continue
		}
		lo, hi := span(b, next)
		if err := d.seriesV2(b[:hi], lo, n); err != nil {
			return err
		}
		i = hi
		n++
	}
	return nil
}

// readSymbols finds the symbol table, which may stand behind the series, and on the
// way checks the structure of the outermost message.
func (d *decoder) readSymbols(b []byte) error {
	if int64(len(b)) > math.MaxUint32 {
		return badRequest("the message is larger than 4 GiB")
	}
	for i := 0; i < len(b); {
		at := i
		num, typ, next := tag(b, i)
		if next < 0 {
			return malformed("a field", at)
		}
		if i = skip(b, next, typ); i < 0 || (num == 4 || num == 5) && typ != wireBytes {
			return malformed("a field", at)
		}
		if num != 4 {
			continue
		}
		ss, err := room(&d.lease, d.symbols, 1)
		if err != nil {
			return err
		}
		lo, hi := span(b, next)
		d.symbols = append(ss, symbol{off: uint32(lo), len: uint32(hi - lo)})
	}
	switch {
	case len(b) == 0:
		return nil
	case len(d.symbols) == 0:
		return badRequest("the message has no symbol table: is it a %s? For remote_write 1.0 send the content type %s;proto=%s", messageV2, typeProtobuf, messageV1)
	case d.symbols[0].len != 0:
		return badRequest("the first symbol must be the empty string, it is %.64q", d.symbol(0))
	}
	return nil
}

// symbol returns a symbol that is in the table.
func (d *decoder) symbol(ref uint32) []byte {
	s := &d.symbols[ref]
	return d.message[s.off : s.off+s.len : s.off+s.len]
}

// appendRefs reads a field of references, packed or not, whose tag ends at i.
func (d *decoder) appendRefs(refs []uint32, b []byte, i, typ int) (_ []uint32, next int, err error) {
	end := i
	switch typ {
	case wireVarint:
		if _, end = uvarint(b, i); end < 0 {
			return refs, -1, nil
		}
	case wireBytes:
		if i, end = span(b, i); end < 0 {
			return refs, -1, nil
		}
	default:
		return refs, -1, nil
	}
	if refs, err = room(&d.lease, refs, end-i); err != nil {
		return refs, -1, err
	}
	for b = b[:end]; i < end; {
		var v uint64
		if c := b[i]; c < 0x80 {
			v, i = uint64(c), i+1
		} else if i+1 < end && b[i+1] < 0x80 {
			v, i = uint64(c&0x7f)|uint64(b[i+1])<<7, i+2
		} else if v, i = uvarint(b, i); i < 0 {
			return refs, -1, nil
		}
		refs = append(refs, uint32(min(v, math.MaxUint32))) // no table is as long as that
	}
	return refs, end, nil
}

// refsMetadata is the Metadata of a 2.0 series.
type refsMetadata struct{ typ, help, unit uint64 }

// seriesV2 reads the TimeSeries b[i:], which is number n of the request.
func (d *decoder) seriesV2(b []byte, i, n int) (err error) {
	m := d.mark()
	var about refsMetadata
	d.refs = d.refs[:0]
	for i < len(b) {
		at := i
		num, typ, next := tag(b, i)
		switch {
		case next < 0:
			return malformed("a field of a series", at)
		case num == 1:
			if d.refs, i, err = d.appendRefs(d.refs, b, next, typ); err != nil {
				return err
			}
		case num > 5:
			i = skip(b, next, typ)
		case typ != wireBytes:
			i = -1
		default:
			var lo int
			if lo, i = span(b, next); i < 0 {
				break
			}
			if err := d.fieldV2(b[:i], lo, n, num, &about); err != nil {
				return err
			}
		}
		if i < 0 {
			return malformed("a field of a series", at)
		}
	}
	return d.closeV2(m, about, n)
}

// fieldV2 reads one field of series n, neither its labels nor unknown.
func (d *decoder) fieldV2(b []byte, i, n, num int, about *refsMetadata) error {
	switch num {
	case 2:
		return d.sample(b, i, startOfSample)
	case 3:
		return d.histogram(b, i, n, startOfHistogram)
	case 4:
		return d.exemplar(b, i, n, true)
	}
	for i < len(b) {
		at := i
		num, typ, next := tag(b, i)
		var v uint64
		switch {
		case next < 0:
			i = -1
		case (num == 1 || num == 3 || num == 4) && typ == wireVarint:
			v, i = uvarint(b, next)
		case num == 1 || num == 3 || num == 4:
			i = -1
		default:
			i = skip(b, next, typ)
		}
		if i < 0 {
			return malformed("metadata", at)
		}
		switch num {
		case 1:
			about.typ = v
		case 3:
			about.help = v
		case 4:
			about.unit = v
		}
	}
	return nil
}

// closeV2 adds series n, whose fields are read and began at m, or refuses it.
func (d *decoder) closeV2(m mark, about refsMetadata, n int) error {
	sent := d.sent.samples + d.sent.histograms - m.sent.samples - m.sent.histograms
	table := uint64(len(d.symbols))
	switch {
	case sent == 0:
		d.refuse(m, "series_empty", fmt.Errorf("series %d of the request has neither samples nor histograms", n))
		return nil
	case len(d.refs)%2 != 0:
		d.refuse(m, "symbol_refs_odd", fmt.Errorf("series %d of the request has %d label references, they must come in pairs of name and value", n, len(d.refs)))
		return nil
	case max(about.help, about.unit) >= table:
		d.refuse(m, "symbol_ref", fmt.Errorf("series %d of the request: the metadata reference %d is outside of the symbol table, which has %d entries", n, max(about.help, about.unit), table))
		return nil
	}
	for _, ref := range d.refs {
		if uint64(ref) >= table {
			d.refuse(m, "symbol_ref", fmt.Errorf("series %d of the request: the label reference %d is outside of the symbol table, which has %d entries", n, ref, table))
			return nil
		}
	}
	key, name, err := d.buildKey()
	if err != nil {
		return err
	}
	if name != 0 && about != (refsMetadata{}) {
		if err := d.metadataV2(name, about); err != nil {
			return err
		}
	}
	return d.add(key, m)
}

// buildKey makes the key of the labels d.refs, in the order in which they were sent, and tells which
// symbol is the metric name.
func (d *decoder) buildKey() (key []byte, name uint32, err error) {
	const frame = 2 + 3*(1+binary.MaxVarintLen32) // of a label, beside its texts
	keys, first := d.keys, len(d.keys)
	message, symbols, refs := d.message, d.symbols, d.refs
	for i := 0; i+1 < len(refs); i += 2 {
		ns, vs := symbols[refs[i]], symbols[refs[i+1]]
		n, v := message[ns.off:ns.off+ns.len], message[vs.off:vs.off+vs.len]
		if need := len(n) + len(v) + frame; cap(keys)-len(keys) < need {
			// References are short and texts are long: ask before every label.
			if keys, err = room(&d.lease, keys, need); err != nil {
				return nil, 0, err
			}
		}
		keys = appendFrame(keys, n, v)
		if string(n) == model.MetricNameLabel {
			name = refs[i+1]
		}
	}
	d.keys = keys
	return keys[first:len(keys):len(keys)], name, nil
}

// appendFrame is series.AppendLabel for a key that has room: nearly all labels are
// short, and their frames have one byte for each length.
func appendFrame(keys, name, value []byte) []byte {
	n, at := len(name), len(keys)
	size := 4 + n + len(value)
	if size >= 0x80 {
		return series.AppendLabel(keys, view(name), view(value))
	}
	keys = keys[:at+2+size]
	f := keys[at:]
	f[0], f[1], f[2], f[3] = 0x0a, byte(size), 0x0a, byte(n)
	copy(f[4:], name)
	f[4+n], f[5+n] = 0x12, byte(len(value))
	copy(f[6+n:], value)
	return keys
}

// metadataV2 appends the metadata of a series to the batch, unless the series before
// it of the same metric said the same.
func (d *decoder) metadataV2(name uint32, about refsMetadata) error {
	help, unit := d.symbol(uint32(about.help)), d.symbol(uint32(about.unit))
	s := &d.symbols[name]
	if s.meta > 0 {
		last := &d.batch.Metadata[s.meta-1]
		if metricType(about.typ) == last.Type && string(help) == last.Help && string(unit) == last.Unit {
			return nil
		}
	}
	ok, err := d.metadata(about.typ, d.symbol(name), unit, help)
	if ok {
		s.meta = uint32(len(d.batch.Metadata))
	}
	return err
}

// refuse takes back what a series that began at m brought and counts it as rejected.
// What was rejected of it alone is counted already.
func (d *decoder) refuse(m mark, reason string, err error) {
	b := &d.batch
	samples, histograms, exemplars := len(b.Samples)-m.samples, len(b.Histograms)-m.histograms, len(b.Exemplars)-m.exemplars
	b.Rejected.Samples += samples
	b.Rejected.Histograms += histograms
	b.Rejected.Exemplars += exemplars
	b.Rejected.Count(reason, samples+histograms+exemplars, err)
	b.Samples, b.Histograms, b.Exemplars = b.Samples[:m.samples], b.Histograms[:m.histograms], b.Exemplars[:m.exemplars]
}

// view is b as a string without a copy, valid as long as b is not written.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
