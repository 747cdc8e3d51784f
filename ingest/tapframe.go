package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/minitrue/minitrue/chunk/series"
)

// tapFrame gathers samples for another node:
//
//	┌──────────────────┐   ┌────────────────┬─────┬──────────┬─────────────────┐
//	│ samples dropped  │   │ uvarint length │ key │ varint   │ value, 8 bytes, │
//	│ before, 8 bytes, │   │ of the key; 0: │     │ time, ms │ big endian      │ …
//	│ big endian       │   │ as before      │     │          │                 │
//	└──────────────────┘   └────────────────┴─────┴──────────┴─────────────────┘
//
// The zero value is an empty frame.
type tapFrame struct {
	buf     []byte
	last    []byte // key of the last sample
	samples int
}

const (
	frameHead   = 8
	frameTarget = 64 << 10                                 // a frame takes no sample more when it has so many bytes
	frameMost   = frameHead + frameTarget + maxQueued + 64 // so that it never has more than these
)

func (f *tapFrame) add(s tapped) {
	if len(f.buf) == 0 {
		f.buf = append(f.buf, make([]byte, frameHead)...)
	}
	if string(s.key) == string(f.last) && f.samples > 0 {
		f.buf = append(f.buf, 0)
	} else {
		f.buf = append(binary.AppendUvarint(f.buf, uint64(len(s.key))), s.key...)
	}
	f.buf = binary.AppendVarint(f.buf, s.T)
	f.buf = binary.BigEndian.AppendUint64(f.buf, math.Float64bits(s.V))
	f.last = s.key
	f.samples++
}

// take returns the payload, which is valid until the next add, and empties the frame.
func (f *tapFrame) take(dropped uint64) []byte {
	if len(f.buf) == 0 {
		f.buf = append(f.buf, make([]byte, frameHead)...)
	}
	b := f.buf
	binary.BigEndian.PutUint64(b, dropped)
	*f = tapFrame{buf: b[:0]}
	return b
}

var errTapFrame = errors.New("malformed samples of another node")

// readTapFrame calls f for each sample of a payload, whose keys are copies, until f returns an error.
func readTapFrame(b []byte, f func(s tapped) error) (dropped uint64, err error) {
	if len(b) < frameHead {
		return 0, fmt.Errorf("%w: %d bytes", errTapFrame, len(b))
	}
	dropped, b = binary.BigEndian.Uint64(b), b[frameHead:]
	var s tapped
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return 0, fmt.Errorf("%w: key", errTapFrame)
		}
		if n > 0 {
			s.key = append([]byte(nil), b[w:w+int(n)]...)
			if err := series.EachLabel(s.key, func(string, string) {}); err != nil {
				return 0, fmt.Errorf("%w: %w", errTapFrame, err)
			}
		} else if s.key == nil {
			return 0, fmt.Errorf("%w: no key", errTapFrame)
		}
		b = b[w+int(n):]
		if s.T, w = binary.Varint(b); w <= 0 || len(b)-w < 8 {
			return 0, fmt.Errorf("%w: sample", errTapFrame)
		}
		s.V = math.Float64frombits(binary.BigEndian.Uint64(b[w:]))
		b = b[w+8:]
		if err := f(s); err != nil {
			return 0, err
		}
	}
	return dropped, nil
}
