package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// dumper prints segments.
type dumper struct {
	w       io.Writer
	summary bool
	records map[wal.Type]int
	items   map[wal.Type]int
	bytes   int64
}

// segment prints the records of one file up to the first frame that is not good.
func (d *dumper) segment(path string) error {
	name := filepath.Base(path)
	end, rest, err := wal.Scan(path, func(off int64, typ wal.Type, rec []byte) error {
		return d.record(name, off, typ, rec)
	})
	d.bytes += end
	if err == nil && rest > 0 {
		fmt.Fprintf(d.w, "%s %d %d bytes behind the last frame are not zero: an interrupted write, if this is the last segment\n", name, end, rest)
	}
	return err
}

// record prints what is in one frame.
func (d *dumper) record(name string, off int64, typ wal.Type, rec []byte) error {
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
