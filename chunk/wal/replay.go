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
	if wasSynced(b, end) || !last && !w.endsInFailure(n) {
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
	if err := os.Remove(w.path(n)); err != nil {
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
	if err := truncateSync(path, end); err != nil {
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

// Repair makes a damaged log usable: every damaged segment is copied to
// <name>.damaged, and rewritten with the frames that are good. It returns what it did, a
// line a segment.
func Repair(dir string) ([]string, error) {
	ns, err := Segments(dir)
	if err != nil {
		return nil, err
	}
	var done []string
	w := &WAL{dir: dir}
	for _, n := range ns {
		path := w.path(n)
		b, err := os.ReadFile(path)
		if err != nil {
			return done, err
		}
		good, bad := salvage(b, n)
		if bad == 0 {
			continue
		}
		if err := writeSync(path+".damaged", b); err != nil {
			return done, err
		}
		if err := writeSync(path, good); err != nil {
			return done, err
		}
		done = append(done, fmt.Sprintf("%s: left out %d damaged bytes, kept %d; the original is %s.damaged", path, bad, len(good), path))
	}
	return done, nil
}

// salvage returns a segment's header and good frames, and how many other bytes that are not zero it skipped.
func salvage(b []byte, n uint64) (good []byte, bad int64) {
	off := int64(headerSize)
	flags, err := checkHeader(b, n)
	good = appendHeader(nil, n, flags)
	if err != nil {
		if next, _ := nextGood(b, 0); next < 0 {
			return good, 0 // it was never written: the next start removes it
		}
		bad, off = headerSize, 0
	}
	for off < int64(len(b)) {
		f, err := readFrame(b, off)
		if err == nil {
			good = append(good, b[off:off+f.size]...)
			off += f.size
			continue
		}
		if errors.Is(err, errEnd) && allZero(b[off:]) {
			break
		}
		next, _ := nextGood(b, off)
		if next < 0 {
			bad += int64(len(b)) - off
			break
		}
		bad += next - off
		off = next
	}
	return good, bad
}
