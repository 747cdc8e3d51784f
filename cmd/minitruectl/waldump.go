package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// dumper prints segments. It reads frames by the format that package wal documents and not by that package's
// own code, which repairs what it reads.
type dumper struct {
	w       io.Writer
	summary bool
	records map[wal.Type]int
	items   map[wal.Type]int
	bytes   int64
}

const (
	walMagic       = "MTWAL001"
	walHeader      = 24 // magic, number, flags, crc
	walFrameHeader = 9  // crc, length, type
)

// segment prints the records of one file up to the first frame that is not good.
func (d *dumper) segment(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	if len(b) < walHeader || string(b[:len(walMagic)]) != walMagic {
		return fmt.Errorf("%s: not a log segment of this version", path)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	if crc32.Checksum(b[:walHeader-4], table) != binary.LittleEndian.Uint32(b[walHeader-4:]) {
		return fmt.Errorf("%s: the header is damaged", path)
	}
	off := walHeader
	for ; off+walFrameHeader <= len(b); off += walFrameHeader + int(binary.LittleEndian.Uint32(b[off+4:])) {
		f := b[off:]
		if len(bytes.Trim(f[:walFrameHeader], "\x00")) == 0 {
			break // filled with zeros in advance
		}
		n := uint64(binary.LittleEndian.Uint32(f[4:]))
		if n > uint64(len(f)-walFrameHeader) {
			return fmt.Errorf("%s: offset %d: the length of %d leads beyond the end of the segment", path, off, n)
		}
		if crc32.Checksum(f[4:walFrameHeader+n], table) != binary.LittleEndian.Uint32(f) {
			return fmt.Errorf("%s: offset %d: checksum mismatch", path, off)
		}
		if err := d.record(name, off, wal.Type(f[8]), f[walFrameHeader:walFrameHeader+n]); err != nil {
			return fmt.Errorf("%s: offset %d: %w", path, off, err)
		}
	}
	d.bytes += int64(off)
	if rest := bytes.TrimRight(b[off:], "\x00"); len(rest) > 0 {
		fmt.Fprintf(d.w, "%s %d %d bytes behind the last frame are not zero: an interrupted write, if this is the last segment\n", name, off, len(rest))
	}
	return nil
}

// record prints what is in one frame.
func (d *dumper) record(name string, off int, typ wal.Type, rec []byte) error {
	if d.records == nil {
		d.records, d.items = map[wal.Type]int{}, map[wal.Type]int{}
	}
	d.records[typ]++
	line := func(format string, args ...any) error {
		d.items[typ]++
		if d.summary {
			return nil
		}
		_, err := fmt.Fprintf(d.w, "%s %d %s %s\n", name, off, typ, fmt.Sprintf(format, args...))
		return err
	}
	switch typ {
	case wal.Commit:
		if len(rec) != 4 {
			return fmt.Errorf("a commit of %d bytes", len(rec))
		}
		return line("durable=%d", binary.LittleEndian.Uint32(rec))
	case wal.Series:
		var sb labels.ScratchBuilder
		return wal.DecodeSeries(rec, func(ref uint32, key []byte) error {
			sb.Reset()
			if err := series.EachLabel(key, func(name, value string) { sb.Add(name, value) }); err != nil {
				return err
			}
			return line("ref=%d %s", ref, sb.Labels())
		})
	case wal.Samples:
		return wal.DecodeSamples(rec, func(ref uint32, t int64, v float64) error {
			return line("ref=%d t=%d v=%v", ref, t, v)
		})
	case wal.Histograms:
		return wal.DecodeHistograms(rec, func(ref uint32, h series.Histogram) error {
			if h.Int != nil {
				return line("ref=%d t=%d h=%s", ref, h.T, h.Int)
			}
			return line("ref=%d t=%d h=%s", ref, h.T, h.Float)
		})
	case wal.Exemplars:
		return wal.DecodeExemplars(rec, func(ref uint32, e exemplar.Exemplar) error {
			return line("ref=%d t=%d v=%v %s", ref, e.Ts, e.Value, e.Labels)
		})
	case wal.Metadata:
		return wal.DecodeMetadata(rec, func(m series.Metadata) error {
			return line("family=%s type=%s unit=%q help=%q", m.Family, m.Type, m.Unit, m.Help)
		})
	}
	return line("%d bytes of a type that this program does not know", len(rec))
}

// total prints the summary.
func (d *dumper) total(segments int) {
	fmt.Fprintf(d.w, "%d segments, %d bytes", segments, d.bytes)
	for typ := wal.Commit; typ <= wal.Metadata; typ++ {
		if d.records[typ] > 0 {
			fmt.Fprintf(d.w, ", %d %s in %d records", d.items[typ], typ, d.records[typ])
		}
	}
	fmt.Fprintln(d.w)
}
