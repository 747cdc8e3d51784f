package remote

import (
	"encoding/binary"

	"github.com/minitrue/minitrue/chunk/series"
)

// decodeV1 fills the batch from a prometheus.WriteRequest:
//
//	1 timeseries: 1 labels, 2 samples, 3 exemplars, 4 histograms
//	3 metadata:   1 type, 2 metric family name, 4 help, 5 unit
func (d *decoder) decodeV1(b []byte) error {
	known, other := 0, false
	for i := 0; i < len(b); {
		at := i
		num, typ, next := tag(b, i)
		if next < 0 {
			return malformed("a field", at)
		}
		if num != 1 && num != 3 {
			other = other || num == 5
			if i = skip(b, next, typ); i < 0 {
				return malformed("an unknown field", at)
			}
			continue
		}
		lo, hi := span(b, next)
		if typ != wireBytes || hi < 0 {
			return malformed("a field", at)
		}
		var err error
		if num == 1 {
			err = d.seriesV1(b[:hi], lo, known)
		} else {
			err = d.metadataV1(b[:hi], lo)
		}
		if err != nil {
			return err
		}
		i = hi
		known++
	}
	if known == 0 && other {
		return badRequest("this is not a %s; for remote_write 2.0 send the content type %s;proto=%s", messageV1, typeProtobuf, messageV2)
	}
	return nil
}

// seriesV1 reads the TimeSeries b[i:], which is number n of the request.
func (d *decoder) seriesV1(b []byte, i, n int) error {
	m, start := d.mark(), i
	keyLo, keyHi, plain := i, labelRun(b, i), true // the run of label frames; plain: there is but one run
	i = keyHi
	for i < len(b) {
		at := i
		num, typ, next := tag(b, i)
		if next < 0 {
			return malformed("a field of a series", at)
		}
		if num > 4 {
			if i = skip(b, next, typ); i < 0 {
				return malformed("an unknown field of a series", at)
			}
			continue
		}
		lo, hi := span(b, next)
		if typ != wireBytes || hi < 0 {
			return malformed("a field of a series", at)
		}
		i = hi
		var err error
		switch num {
		case 1:
			if keyHi == keyLo {
				keyLo, keyHi = at, at
			}
			plain = plain && at == keyHi && next == at+1
			keyHi = hi
		case 2:
			err = d.sample(b[:hi], lo, noStart)
		case 3:
			err = d.exemplar(b[:hi], lo, n, false)
		case 4:
			err = d.histogram(b[:hi], lo, n, noStart)
		}
		if err != nil {
			return err
		}
	}
	key := b[keyLo:keyHi:keyHi]
	if !plain {
		var err error
		if key, err = d.gatherKey(b, start); err != nil {
			return err
		}
	}
	// Nobody will look into the labels of a series that brings nothing.
	if d.sent == m.sent && series.EachLabel(key, func(string, string) {}) != nil {
		return malformed("a label of the series", start)
	}
	return d.add(key, m)
}

// labelRun returns where the run of short label frames at b[i:] ends. It may end early:
// longer frames are left to the caller.
func labelRun(b []byte, i int) int {
	for i+1 < len(b) && b[i] == 0x0a && b[i+1] < 0x80 {
		next := i + 2 + int(b[i+1])
		if next > len(b) {
			break
		}
		i = next
	}
	return i
}

// gatherKey makes one run of the label frames of the TimeSeries b[i:], which
// seriesV1 has read and found scattered.
func (d *decoder) gatherKey(b []byte, i int) ([]byte, error) {
	keys, err := room(&d.lease, d.keys, len(b)-i+binary.MaxVarintLen64)
	if err != nil {
		return nil, err
	}
	first := len(keys)
	for i < len(b) {
		num, typ, next := tag(b, i)
		i = skip(b, next, typ)
		if num == 1 {
			lo, hi := span(b, next)
			keys = append(keys, 0x0a)
			keys = binary.AppendUvarint(keys, uint64(hi-lo))
			keys = append(keys, b[lo:hi]...)
		}
	}
	d.keys = keys
	return keys[first:len(keys):len(keys)], nil
}

// metadataV1 reads the MetricMetadata b[i:].
func (d *decoder) metadataV1(b []byte, i int) error {
	var typ uint64
	var text [6][]byte // by field number
	for i < len(b) {
		at := i
		num, wt, next := tag(b, i)
		switch {
		case next < 0:
			i = -1
		case num == 1 && wt == wireVarint:
			typ, i = uvarint(b, next)
		case (num == 2 || num == 4 || num == 5) && wt == wireBytes:
			var lo int
			if lo, i = span(b, next); i >= 0 {
				text[num] = b[lo:i]
			}
		case num <= 5 && num != 3:
			i = -1
		default:
			i = skip(b, next, wt)
		}
		if i < 0 {
			return malformed("metadata", at)
		}
	}
	_, err := d.metadata(typ, text[2], text[5], text[4])
	return err
}
