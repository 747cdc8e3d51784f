package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// replaySegment hands a segment's records out and checks what ends it.
func (w *WAL) replaySegment(n uint64, last bool, replay func(uint64, Type, []byte) error) error {
	path := w.path(n)
	b, unmap, err := mapFile(path)
	if err != nil {
		return fmt.Errorf("replay %s: %w", path, err)
	}
	defer unmap()
	if _, err := checkHeader(b, n); err != nil {
		return &CorruptError{path, 0, err.Error()}
	}
	end, reason, err := readSegment(b, func(off int64, typ Type, rec []byte) error {
		if typ == Commit {
			return nil
		}
		if err := replay(n, typ, rec); err != nil {
			return &CorruptError{path, off, err.Error()}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if end >= int64(len(b)) {
		return nil
	}
	if wasSynced(b, end) || !last && !w.endsInFailure(n) || flipped(b, end) {
		return &CorruptError{path, end, reason.Error()}
	}
	return w.cut(path, end, reason)
}

// endsInFailure reports whether the segment after n says that n was given up.
func (w *WAL) endsInFailure(n uint64) bool {
	b, unmap, err := mapFile(w.path(n + 1))
	if err != nil {
		return false
	}
	defer unmap()
	flags, err := checkHeader(b, n+1)
	return err == nil && flags&afterFailure != 0
}

// dropUnborn removes the last segment if a crash interrupted its creation: the
// header is not whole, and no frame was ever written.
func (w *WAL) dropUnborn(ns []uint64) ([]uint64, error) {
	if len(ns) == 0 {
		return ns, nil
	}
	n := ns[len(ns)-1]
	b, unmap, err := mapFile(w.path(n))
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer unmap()
	if _, err := checkHeader(b, n); err == nil {
		return ns, nil
	}
	if next, _ := nextGood(b, 0); next >= 0 {
		return ns, nil
	}
	if err := w.o.FS.Remove(w.path(n)); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return ns[:len(ns)-1], nil
}

// cut ends a segment at an offset: behind it lies what was never acknowledged.
func (w *WAL) cut(path string, end int64, why error) error {
	if !errors.Is(why, errEnd) {
		w.o.Logger.Warn("cut an interrupted write off the log", "path", path, "offset", end, "err", why)
		w.m.torn.Inc()
	}
	f, err := w.o.FS.Open(path)
	if err != nil {
		return fmt.Errorf("repair %s: %w", path, err)
	}
	if err := errors.Join(f.Truncate(end), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("repair %s: %w", path, err)
	}
	return nil
}

// Scan calls f for every good frame of a segment, Commits too, and changes nothing. It
// returns the offset behind the last one, and an error that says what ends it there unless
// it is the end of the file or zeros. rest counts the bytes behind it up to the last that is not zero.
func Scan(path string, f func(off int64, typ Type, rec []byte) error) (end int64, rest int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	if len(b) < headerSize {
		return 0, 0, fmt.Errorf("%s: the header is cut short", path)
	}
	if _, err := checkHeader(b, binary.LittleEndian.Uint64(b[8:])); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	end, reason, err := readSegment(b, f)
	if err == nil && !errors.Is(reason, errEnd) {
		err = reason
	}
	if err != nil {
		err = fmt.Errorf("%s: offset %d: %w", path, end, err)
	}
	return end, len(bytes.TrimRight(b[min(end, int64(len(b))):], "\x00")), err
}
