package replicate

import (
	"encoding/binary"
	"errors"

	"github.com/zeebo/xxh3"
)

// What remote_write 1.0 messages are made of, all of it length-delimited:
//
//	WriteRequest: 1 timeseries, 3 metadata
//	TimeSeries:   1 labels, 2 samples, 3 exemplars, 4 histograms
const (
	tagSeries    = 0x0a
	tagLabel     = 0x0a
	tagSample    = 0x12
	tagExemplar  = 0x1a
	tagHistogram = 0x22
)

var errMessage = errors.New("it is no remote_write message as it was put into the queue")

// field reads the field at b[i:]: its content, and where the next one begins.
func field(b []byte, i int) (content []byte, next int, err error) {
	n, w := binary.Uvarint(b[i+1:])
	if w <= 0 || n > uint64(len(b)-i-1-w) {
		return nil, 0, errMessage
	}
	i += 1 + w
	return b[i : i+int(n)], i + int(n), nil
}

// counts are of what messages hold.
type counts struct{ samples, histograms, exemplars int }

func (c *counts) add(o counts) {
	c.samples += o.samples
	c.histograms += o.histograms
	c.exemplars += o.exemplars
}

func (c counts) minus(o counts) counts {
	return counts{max(0, c.samples-o.samples), max(0, c.histograms-o.histograms), max(0, c.exemplars-o.exemplars)}
}

// a part is what is never divided: a field of a WriteRequest, with its tag and length.
type part struct {
	bytes []byte
	hash  uint64 // of the labels; 0 for metadata
	counts
}

// eachPart calls f for every part of a message, which they alias.
func eachPart(message []byte, f func(p part)) error {
	for i := 0; i < len(message); {
		content, next, err := field(message, i)
		if err != nil {
			return err
		}
		p := part{bytes: message[i:next]}
		if message[i] == tagSeries {
			if err := p.look(content); err != nil {
				return err
			}
		}
		f(p)
		i = next
	}
	return nil
}

// look reads a TimeSeries.
func (p *part) look(ts []byte) error {
	end := 0 // of the labels, which come first
	for i := 0; i < len(ts); {
		_, next, err := field(ts, i)
		if err != nil {
			return err
		}
		switch ts[i] {
		case tagLabel:
			end = next
		case tagSample:
			p.samples++
		case tagExemplar:
			p.exemplars++
		case tagHistogram:
			p.histograms++
		}
		i = next
	}
	p.hash = xxh3.Hash(ts[:end])
	return nil
}

// countsOf counts what is in a message.
func countsOf(message []byte) (c counts) {
	_ = eachPart(message, func(p part) { c.add(p.counts) }) // it was made a moment ago
	return c
}
