package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/minitrue/minitrue/chunk/series"
)

// A brief is what a node is sent of series that it knows: their ids in the place of their labels, which would be most of the bytes, and of
// the work at both ends. It is a sequence of groups, one after the other, all numbers little endian:
//
//	number of series (4 bytes), base time (8 bytes, ms)
//	each series: id (16 bytes, as in files), number of samples (uvarint)
//	             each sample: how long after the one before, or after the base (zigzag varint, ms); value (8 bytes)
//
// It stands before the rest of a body, and a header says how long it is. A node that does not know one of the series stores nothing.

// headerBrief says how many bytes of a write, the first, are a brief.
const headerBrief = "X-Minitrue-Brief"

const (
	briefGroup   = 4 + 8
	leastBrief   = 16 + 1 // bytes of a series
	leastSample  = 1 + 8
	briefSamples = 1000 // a series with more is sent with its labels: they hardly matter then
)

// openBrief begins the group of the open parcel.
func (s *split) openBrief(base int64) {
	s.brief = append(s.brief, 0, 0, 0, 0)
	s.brief = binary.LittleEndian.AppendUint64(s.brief, uint64(base))
	s.briefTime = base
}

// closeBrief ends it.
func (s *split) closeBrief(p *parcel) {
	if p.bto > p.bfrom {
		binary.LittleEndian.PutUint32(s.brief[p.bfrom:], uint32(p.bend-p.bfirst))
	}
}

// encodeBrief appends a series to the open parcel by its id, if that can be done.
func (s *split) encodeBrief(b *series.Batch, i int) bool {
	e := &b.Series[i]
	if e.Count == 0 || e.Count > briefSamples || hasMore(b, i) {
		return false
	}
	samples := b.Samples[e.First : e.First+e.Count]
	p := &s.parcels[len(s.parcels)-1]
	if len(s.briefs) == p.bfirst {
		s.openBrief(samples[0].T)
	}
	s.briefs = append(s.briefs, int32(i))
	id := s.ids[i].Bytes()
	out := binary.AppendUvarint(append(s.brief, id[:]...), uint64(e.Count))
	for j := range samples {
		x := &samples[j]
		out = binary.AppendVarint(out, x.T-s.briefTime) // where that overflows, the sum does so again
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x.V))
		s.briefTime = x.T
	}
	s.brief = out
	p.samples += e.Count
	p.unbrief += len(s.keys[i]) + 16 + 24*e.Count // not less than appendSeries makes of it
	return true
}

// hasMore says whether a batch has histograms or exemplars of series i.
func hasMore(b *series.Batch, i int) bool {
	return len(run(b.Histograms, i, func(h *series.Histogram) int { return h.Series })) > 0 ||
		len(run(b.Exemplars, i, func(x *series.Exemplar) int { return x.Series })) > 0
}

var errBrief = errors.New("the series that are sent by their ids cannot be read")

// decodeBrief appends what a brief says to a batch: series without keys, their samples, and their ids.
func decodeBrief(into *series.Batch, b []byte) error {
	at := 0
	bad := func() error { return fmt.Errorf("%w: byte %d of %d", errBrief, at, len(b)) }
	for at < len(b) {
		if len(b)-at < briefGroup {
			return bad()
		}
		n, t := binary.LittleEndian.Uint32(b[at:]), int64(binary.LittleEndian.Uint64(b[at+4:]))
		at += briefGroup
		for range n {
			if len(b)-at < leastBrief {
				return bad()
			}
			id := series.IDFromBytes([16]byte(b[at:]))
			at += 16
			count, w := binary.Uvarint(b[at:])
			if w <= 0 || count > uint64(len(b)-at-w)/leastSample {
				return bad()
			}
			at += w
			into.Series = append(into.Series, series.Entry{First: len(into.Samples), Count: int(count)})
			into.IDs = append(into.IDs, id)
			for range count {
				dt, w := binary.Varint(b[at:])
				if w <= 0 || len(b)-at-w < 8 {
					return bad()
				}
				t += dt
				into.Samples = append(into.Samples, series.Sample{T: t, V: math.Float64frombits(binary.LittleEndian.Uint64(b[at+w:]))})
				at += w + 8
			}
		}
	}
	return nil
}
