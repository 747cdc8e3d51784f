package store

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"

	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// replay reads the log into the active memtable and opens it for appending.
func (s *Store) replay() error {
	start := s.o.Now()
	r := replayer{s: s}
	progress := start
	var last uint64
	w, err := wal.Open(filepath.Join(s.dir, "wal"), s.o.WAL, func(segment uint64, typ wal.Type, rec []byte) error {
		if now := s.o.Now(); segment != last && now.Sub(progress) > 2*time.Second {
			progress = now
			s.o.Logger.Info("replaying the log", "segment", segment, "samples", s.active.Samples(), "series", s.active.registry.Count())
		}
		last = segment
		return r.record(typ, rec)
	})
	if err != nil {
		return err
	}
	s.wal = w
	took := s.o.Now().Sub(start)
	s.m.replay.Set(took.Seconds())
	s.o.Logger.Info("replayed the log", "samples", s.active.Samples(), "series", s.active.registry.Count(), "blocks", len(s.blocks), "duration", took)
	if s.active.full(s.o) {
		signal(s.full)
	}
	return nil
}

// replayer maps the refs of the process that wrote the log to those of this one.
type replayer struct {
	s    *Store
	refs []head.Ref
}

func (r *replayer) ref(old uint32) (head.Ref, error) {
	if int(old) >= len(r.refs) || r.refs[old] == 0 {
		return 0, fmt.Errorf("a sample of series %d, which the log does not name before", old)
	}
	return r.refs[old], nil
}

func (r *replayer) record(typ wal.Type, rec []byte) error {
	switch typ {
	case wal.Series:
		return wal.DecodeSeries(rec, r.series)
	case wal.Samples:
		return wal.DecodeSamples(rec, func(old uint32, t int64, v float64) error {
			ref, err := r.ref(old)
			if err == nil {
				r.s.active.AppendSample(ref, t, v)
			}
			return err
		})
	case wal.Histograms:
		return wal.DecodeHistograms(rec, func(old uint32, h series.Histogram) error {
			ref, err := r.ref(old)
			if err != nil {
				return err
			}
			return r.s.active.AppendHistogram(ref, h)
		})
	case wal.Exemplars:
		return wal.DecodeExemplars(rec, func(old uint32, e exemplar.Exemplar) error {
			ref, err := r.ref(old)
			if err == nil {
				r.s.exemplars.add(r.s.active.registry, ref, e)
			}
			return err
		})
	case wal.Metadata:
		return wal.DecodeMetadata(rec, func(m series.Metadata) error {
			r.s.metadata.set(m)
			return nil
		})
	}
	return fmt.Errorf("unknown record %v: the log was written by a newer version", typ)
}

// maxRef bounds what a damaged ref could make the replay allocate.
const maxRef = 1 << 28

func (r *replayer) series(old uint32, key []byte) error {
	if old >= maxRef {
		return fmt.Errorf("the series number %d is out of range", old)
	}
	var ref [1]head.Ref
	if err := r.s.active.registry.Register([][]byte{key}, []series.ID{series.HashKey(key)}, ref[:], 0); err != nil {
		return err
	}
	if n := int(old) + 1 - len(r.refs); n > 0 {
		r.refs = append(r.refs, make([]head.Ref, n)...)
	}
	r.refs[old] = ref[0]
	return nil
}
