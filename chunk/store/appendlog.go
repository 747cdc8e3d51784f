package store

import (
	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// logKeys writes the keys of series that are new to the active memtable's part of
// the log. Nobody writes a sample of a series before its key is in the log: who finds a new series waits for
// the lock, and a series passes for one with a key only when the log has the key.
func (s *Store) logKeys(b *series.Batch, w *work) error {
	w.newRefs = w.newRefs[:0]
	for i, ref := range w.refs {
		if !b.Series[i].Bad && !s.active.Logged(ref) {
			w.newRefs = append(w.newRefs, ref)
		}
	}
	if len(w.newRefs) == 0 {
		return nil
	}
	s.logMu.Lock()
	defer s.logMu.Unlock()
	var err error
	w.rec, err = s.logNew(w.rec[:0], w.newRefs)
	return err
}

// keyBytes is about how many bytes of keys go into a record. All keys of a batch that names series by their ids may be more than a record takes.
const keyBytes = 1 << 20

// logNew writes the keys of those series whose keys the log does not have. The caller holds logMu, and lends rec.
func (s *Store) logNew(rec []byte, refs []head.Ref) ([]byte, error) {
	var key []byte
	for len(refs) > 0 {
		n := 0
		for rec = rec[:0]; n < len(refs) && len(rec) < keyBytes; n++ {
			if !s.active.Logged(refs[n]) {
				key = s.active.registry.AppendKey(key[:0], refs[n])
				rec = wal.AppendSeries(rec, uint32(refs[n]), key)
			}
		}
		if len(rec) > 0 {
			if _, err := s.wal.Append(wal.Series, rec); err != nil {
				return rec, err
			}
		}
		for _, ref := range refs[:n] {
			s.active.SetLogged(ref)
		}
		refs = refs[n:]
	}
	return rec, nil
}

// logSamples writes everything else of a batch to the log, and takes notice of metadata.
func (s *Store) logSamples(b *series.Batch, w *work) (pos wal.Position, err error) {
	write := func(typ wal.Type, rec []byte) {
		if len(rec) > 0 && err == nil {
			pos, err = s.wal.Append(typ, rec)
		}
	}
	w.enc.Reset()
	w.samples = 0
	for i := range b.Series {
		e := &b.Series[i]
		if e.Bad {
			continue
		}
		for _, x := range b.Samples[e.First : e.First+e.Count] {
			w.enc.Add(uint32(w.refs[i]), x.T, x.V)
		}
		w.samples += e.Count
	}
	write(wal.Samples, w.enc.Buf)
	w.rec = w.rec[:0]
	for _, h := range b.Histograms {
		if !b.Series[h.Series].Bad {
			w.rec = wal.AppendHistogram(w.rec, uint32(w.refs[h.Series]), h)
			w.samples++
		}
	}
	write(wal.Histograms, w.rec)
	w.rec = w.rec[:0]
	for _, e := range b.Exemplars {
		if !b.Series[e.Series].Bad {
			w.rec = wal.AppendExemplar(w.rec, uint32(w.refs[e.Series]), e.Exemplar)
		}
	}
	write(wal.Exemplars, w.rec)
	if len(b.Metadata) == 0 || err != nil {
		return pos, err
	}
	w.rec = w.rec[:0]
	for _, m := range b.Metadata {
		w.rec = wal.AppendMetadata(w.rec, m)
	}
	s.logMu.Lock() // the log and memory get them in the same order
	defer s.logMu.Unlock()
	write(wal.Metadata, w.rec)
	for _, m := range b.Metadata {
		s.metadata.set(m)
	}
	return pos, err
}
