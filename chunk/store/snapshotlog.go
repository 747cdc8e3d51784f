package store

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// writeRest makes a log below a folder of what lies in no block: metadata, and exemplars with the keys of their series. A start reads it
// as it reads its own.
func (s *Store) writeRest(to string) (err error) {
	about, exemplars := s.metadata.all(), s.exemplars.all()
	if len(about) == 0 && len(exemplars) == 0 {
		return nil
	}
	w, err := wal.Open(filepath.Join(to, "wal"), wal.Options{FS: s.o.FS, Logger: s.o.Logger}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	var rec, key []byte
	write := func(typ wal.Type, atLeast int) {
		if len(rec) >= atLeast && len(rec) > 0 && err == nil {
			_, err = w.Append(typ, rec)
			rec = rec[:0]
		}
	}
	for _, m := range about {
		rec = wal.AppendMetadata(rec, m)
		write(wal.Metadata, keyBytes)
	}
	write(wal.Metadata, 0)
	refs := map[series.ID]uint32{}
	for _, e := range exemplars {
		if refs[e.id] > 0 {
			continue
		}
		refs[e.id] = uint32(len(refs) + 1)
		key = series.AppendKey(key[:0], e.labels)
		rec = wal.AppendSeries(rec, refs[e.id], key)
		write(wal.Series, keyBytes)
	}
	write(wal.Series, 0)
	for _, e := range exemplars {
		rec = wal.AppendExemplar(rec, refs[e.id], e.Exemplar)
		write(wal.Exemplars, keyBytes)
	}
	write(wal.Exemplars, 0)
	if err == nil {
		err = w.SyncAll()
	}
	if err != nil {
		return fmt.Errorf("write metadata and exemplars: %w", err)
	}
	return nil
}
