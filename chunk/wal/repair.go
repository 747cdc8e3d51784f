package wal

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/model/exemplar"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
)

// Repair makes a damaged log usable: every damaged segment is copied to
// <name>.damaged, and rewritten with the frames that are good and those in which one bit flipped, which is flipped back. Samples whose series
// the rest does not name any more are left out. It returns what it did, a line a segment.
func Repair(dir string) ([]string, error) {
	ns, err := Segments(dir)
	if err != nil {
		return nil, err
	}
	var done []string
	w := &WAL{dir: dir}
	r := repairer{named: map[uint32]bool{}}
	for _, n := range ns {
		path := w.path(n)
		b, err := os.ReadFile(path)
		if err != nil {
			return done, err
		}
		r.segment(b, n)
		if r.bad+r.mended+r.orphans == 0 {
			continue
		}
		if err := disk.WriteFile(disk.OS, path+".damaged", b); err != nil {
			return done, err
		}
		if err := disk.WriteFile(disk.OS, path, r.good); err != nil {
			return done, err
		}
		done = append(done, fmt.Sprintf("%s: left out %d damaged bytes and %d samples of series that they named, mended %d bits, kept %d bytes; the original is %s.damaged",
			path, r.bad, r.orphans, r.mended, len(r.good), path))
	}
	return done, nil
}

// repairer goes through the segments in order.
type repairer struct {
	named map[uint32]bool // refs whose series is known for certain
	lossy bool            // something was left out, so that there may be refs that are not named

	good    []byte // of the segment
	bad     int64  // bytes that are not zero and were left out
	mended  int64  // bits
	orphans int64  // samples, histograms and exemplars
}

// segment takes what is good of a segment.
func (r *repairer) segment(b []byte, n uint64) {
	off := int64(headerSize)
	flags, err := checkHeader(b, n)
	r.good, r.bad, r.mended, r.orphans = appendHeader(nil, n, flags), 0, 0, 0
	if err != nil {
		if next, _ := nextGood(b, 0); next < 0 {
			return // it was never written: the next start removes it
		}
		r.bad = headerSize
		if _, err := readFrame(b, off); err != nil {
			off = 0
		}
	}
	for off < int64(len(b)) {
		f, err := readFrame(b, off)
		if err == nil {
			r.frame(f)
			off += f.size
			continue
		}
		if allZero(b[off:]) {
			return
		}
		if whole, ok := mend(b, off); ok {
			r.mended++
			f, _ := readFrame(whole, 0)
			r.frame(f)
			off += f.size
			continue
		}
		off = r.skip(b, off)
	}
}

// skip leaves out what is between an offset and the next good frame, and returns where that is.
func (r *repairer) skip(b []byte, off int64) int64 {
	r.lossy = true
	next, _ := nextGood(b, off)
	if next < 0 {
		next = int64(len(b))
	}
	r.bad += next - off
	// A frame that ends where the next one begins has its header, and says what was in it. Else it may have named any series
	// anew, and what was named before is in doubt.
	if f := b[off:next]; len(f) < frameHeader || binary.LittleEndian.Uint32(f[4:]) != uint32(len(f)-frameHeader) || Type(f[8]) == Series {
		clear(r.named)
	}
	return next
}

// frame takes a good frame, without what belongs to series that are not known.
func (r *repairer) frame(f frame) {
	switch {
	case f.typ == Series:
		_ = DecodeSeries(f.rec, func(ref uint32, _ []byte) error { // the start tells of a record that is malformed
			r.named[ref] = true
			return nil
		})
	case r.lossy:
		rec, ok := r.known(f)
		if !ok {
			return
		}
		f.rec = rec
	}
	r.good = appendFrame(r.good, f.typ, f.rec)
}

// known returns a record without what is of series that are not named; false when nothing is left.
func (r *repairer) known(f frame) ([]byte, bool) {
	var kept []byte
	orphans := int64(0)
	keep := func(ref uint32, add func()) error {
		if r.named[ref] {
			add()
		} else {
			orphans++
		}
		return nil
	}
	var err error
	switch f.typ {
	case Samples:
		var e SampleEncoder
		err = DecodeSamples(f.rec, func(ref uint32, t int64, v float64) error {
			return keep(ref, func() { e.Add(ref, t, v) })
		})
		kept = e.Buf
	case Histograms:
		err = DecodeHistograms(f.rec, func(ref uint32, h series.Histogram) error {
			return keep(ref, func() { kept = AppendHistogram(kept, ref, h) })
		})
	case Exemplars:
		err = DecodeExemplars(f.rec, func(ref uint32, e exemplar.Exemplar) error {
			return keep(ref, func() { kept = AppendExemplar(kept, ref, e) })
		})
	}
	if err != nil || orphans == 0 {
		return f.rec, true
	}
	r.orphans += orphans
	return kept, len(kept) > 0
}
