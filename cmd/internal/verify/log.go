package verify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/prometheus/prometheus/model/exemplar"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// log verifies a write-ahead log.
func (f *folder) log(ctx context.Context, dir string) error {
	l := logCheck{}
	last := uint64(0)
	err := wal.Verify(dir, func(segment uint64, typ wal.Type, rec []byte) error {
		if segment != last {
			last = segment
			l.segments++
		}
		l.records++
		l.bytes += int64(len(rec))
		f.o.Meter.Add(int64(len(rec)))
		return l.record(typ, rec)
	}, func(err error) {
		x := Finding{File: dir, Offset: -1, What: err.Error()}
		var c *wal.CorruptError
		if errors.As(err, &c) {
			x.File, x.Offset, x.What = c.Path, c.Offset, c.Reason
		}
		if filepath.Base(x.File) == wal.DropFile {
			x.Do = "remove it: if the node then does not start, the oldest segments of the log were about to go"
			f.found(x)
			return
		}
		x.Do = fmt.Sprintf("acknowledged samples are damaged: restore the file from a copy, or stop the node and run `minitruectl wal repair %s` to set it aside and keep the rest", dir)
		f.found(x)
	})
	f.mu.Lock()
	f.r.Segments += l.segments
	f.r.Records += l.records
	f.r.Bytes += l.bytes
	f.mu.Unlock()
	return errors.Join(err, ctx.Err())
}

// logCheck knows what a replay would know, so far as it is needed to tell that it would succeed.
type logCheck struct {
	named    []uint64 // a bit a ref
	segments int
	records  int64
	bytes    int64
}

// maxRef bounds what a damaged ref could make this allocate. A replay has the same limit.
const maxRef = 1 << 28

func (l *logCheck) name(ref uint32, key []byte) error {
	if ref >= maxRef {
		return fmt.Errorf("the series number %d is out of range", ref)
	}
	if _, err := series.CheckKey(key, series.Limits{Labels: 1 << 30, Name: 1 << 30, Value: 1 << 30}); err != nil {
		return fmt.Errorf("series %d: %w", ref, err)
	}
	if n := int(ref/64) + 1 - len(l.named); n > 0 {
		l.named = append(l.named, make([]uint64, n)...)
	}
	l.named[ref/64] |= 1 << (ref % 64)
	return nil
}

func (l *logCheck) known(ref uint32) error {
	if i := int(ref / 64); i >= len(l.named) || l.named[i]&(1<<(ref%64)) == 0 {
		return fmt.Errorf("a sample of series %d, which the log does not name before", ref)
	}
	return nil
}

func (l *logCheck) record(typ wal.Type, rec []byte) error {
	switch typ {
	case wal.Series:
		return wal.DecodeSeries(rec, l.name)
	case wal.Samples:
		return wal.DecodeSamples(rec, func(ref uint32, _ int64, _ float64) error { return l.known(ref) })
	case wal.Histograms:
		return wal.DecodeHistograms(rec, func(ref uint32, h series.Histogram) error {
			var err error
			if h.Int != nil {
				err = h.Int.Validate()
			} else {
				err = h.Float.Validate()
			}
			return errors.Join(l.known(ref), err)
		})
	case wal.Exemplars:
		return wal.DecodeExemplars(rec, func(ref uint32, _ exemplar.Exemplar) error { return l.known(ref) })
	case wal.Metadata:
		return wal.DecodeMetadata(rec, func(series.Metadata) error { return nil })
	}
	return fmt.Errorf("a record of %v, which this version does not know: verify with the node's version", typ)
}
