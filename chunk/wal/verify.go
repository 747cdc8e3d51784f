package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// Verify reads the log in a folder as [Open] would and changes nothing, so that another process may be
// writing it. check is called for every record in order, Commits left out; an error of
// its own is damage too. damaged is told of each [*CorruptError]: what follows in that segment is passed over, and the next goes on.
// What an interrupted write left at the end is not damage. Segments that are dropped meanwhile are passed over.
func Verify(dir string, check func(segment uint64, typ Type, rec []byte) error, damaged func(error)) error {
	ns, err := Segments(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify log: %w", err)
	}
	w := &WAL{dir: dir}
	end, err := readDrop(dir)
	var bad *CorruptError
	if errors.As(err, &bad) {
		damaged(bad)
	} else if err != nil {
		return fmt.Errorf("verify log: %w", err)
	}
	ns = slices.DeleteFunc(ns, func(n uint64) bool { return n < end })
	for i, n := range ns {
		if i > 0 && n != ns[i-1]+1 {
			damaged(&CorruptError{w.path(ns[i-1] + 1), 0, "the segment is missing"})
		}
		bad, err := w.verifySettled(n, i == len(ns)-1, check)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("verify %s: %w", w.path(n), err)
		}
		if bad == nil {
			continue
		}
		if end, err := readDrop(dir); err != nil || n >= end { // else it is being given back to the disk
			damaged(bad)
		}
	}
	return nil
}

// verifySettled reads a damaged segment again: while another process writes, one reading may show a later write and not yet
// the one before it.
func (w *WAL) verifySettled(n uint64, last bool, check func(uint64, Type, []byte) error) (*CorruptError, error) {
	var before *CorruptError
	for {
		bad, err := w.verifySegment(n, last, check)
		if bad == nil || err != nil || before != nil && bad.Offset <= before.Offset {
			return bad, err
		}
		before = bad
	}
}

// verifySegment returns what is wrong with a segment's content, and apart from it why it could not be read.
func (w *WAL) verifySegment(n uint64, last bool, check func(uint64, Type, []byte) error) (bad *CorruptError, err error) {
	b, err := os.ReadFile(w.path(n)) // a mapping would end this process if the file were cut while it is read
	if err != nil {
		return nil, err
	}
	if _, err := checkHeader(b, n); err != nil {
		if next, _ := nextGood(b, 0); last && next < 0 {
			return nil, nil // the next start removes it: it was never written
		}
		return &CorruptError{w.path(n), 0, err.Error()}, nil
	}
	end, reason, err := readSegment(b, func(off int64, typ Type, rec []byte) error {
		if typ == Commit {
			return nil
		}
		if err := check(n, typ, rec); err != nil {
			return &CorruptError{w.path(n), off, err.Error()}
		}
		return nil
	})
	if errors.As(err, &bad) || err != nil {
		return bad, nil
	}
	if end < int64(len(b)) && (wasSynced(b, end) || !last && !w.endsInFailure(n) || flipped(b, end)) {
		return &CorruptError{w.path(n), end, reason.Error()}, nil
	}
	return nil, nil
}
