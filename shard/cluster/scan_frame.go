package cluster

import (
	"encoding/binary"

	"github.com/minitrue/minitrue/chunk"
)

// The answer to a scan is a stream of frames. The first says what is in the others, which are entries one after the other:
//
//	head   ┌────────────┬───────┐
//	       │ format = 1 │ flags │  1: buckets stand for samples, 2: entries have statistics
//	       └─────1──────┴───1───┘
//	entry  ┌─────────┬─────┬────────────┬─────────────┬────────────────────┐
//	       │ uvarint │ key │ statistics │ chunks …    │ 0, or 255: more of │
//	       │ length  │     │ (flag 2)   │             │ it comes next      │
//	       └─────────┴─────┴────────────┴─────────────┴─────────1──────────┘
//	chunk  ┌──────────┬────────────┬─────────┬───────┬─────────┬──────┐
//	       │ encoding │ statistics │ uvarint │ times │ uvarint │ data │  times: only of Dense; a Downsampled
//	       │          │            │ length  │       │ length  │      │  one is its statistics alone
//	       └────1─────┴────────────┴─────────┴───────┴─────────┴──────┘
//
// Statistics are as chunk.Stats writes them. An entry without chunks is a series of which only the labels were asked for, or
// which has nothing but statistics.
const (
	scanFormat = 1

	headCoarse = 1
	headSums   = 2

	entryEnd  = 0
	entryMore = 255

	frameBytes = 256 << 10 // after which a frame is sent
	maxFrame   = 32 << 20  // that is accepted
)

// scanWriter writes the answer to a scan.
type scanWriter struct {
	w    *answerWriter
	buf  []byte
	sums bool
}

func newScanWriter(w *answerWriter, coarse, sums bool) (*scanWriter, error) {
	flags := byte(0)
	if coarse {
		flags |= headCoarse
	}
	if sums {
		flags |= headSums
	}
	return &scanWriter{w: w, sums: sums}, w.Write([]byte{scanFormat, flags})
}

// add writes a series. The sum is used if the answer has statistics.
func (s *scanWriter) add(key []byte, sum *chunk.Stats, chunks []chunk.Chunk) error {
	s.begin(key, sum)
	for i := range chunks {
		if len(s.buf) >= frameBytes {
			s.buf = append(s.buf, entryMore)
			if err := s.flush(); err != nil {
				return err
			}
			none := chunk.NoStats()
			s.begin(key, &none)
		}
		s.buf = appendChunk(s.buf, &chunks[i])
	}
	s.buf = append(s.buf, entryEnd)
	if len(s.buf) < frameBytes {
		return nil
	}
	return s.flush()
}

func (s *scanWriter) begin(key []byte, sum *chunk.Stats) {
	s.buf = appendBytes(s.buf, key)
	if s.sums {
		s.buf = sum.AppendTo(s.buf)
	}
}

func appendChunk(b []byte, c *chunk.Chunk) []byte {
	b = c.Stats.AppendTo(append(b, byte(c.Encoding)))
	if c.Encoding == chunk.Downsampled {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(c.Times)))
	b = append(b, c.Times...)
	return appendBytes(b, c.Data)
}

// flush sends what there is.
func (s *scanWriter) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}
