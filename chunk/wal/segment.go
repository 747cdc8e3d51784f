package wal

import (
	"errors"
	"fmt"
)

// open starts segment n. The caller holds commit, or is alone.
func (w *WAL) open(n uint64) error {
	f, err := w.o.FS.Create(w.path(n))
	if err != nil {
		return fmt.Errorf("create log segment %s: %w", w.path(n), err)
	}
	flags := uint32(0)
	if w.failed {
		flags = afterFailure
	}
	if _, err := f.WriteAt(appendHeader(nil, n, flags), 0); err != nil {
		f.Close()
		return fmt.Errorf("write log segment %s: %w", w.path(n), err)
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return fmt.Errorf("sync log segment %s: %w", w.path(n), err)
	}
	if err := w.o.FS.SyncDir(w.dir); err != nil {
		f.Close()
		return fmt.Errorf("sync log folder: %w", err)
	}
	w.file, w.number, w.offset, w.length, w.durable, w.failed = f, n, headerSize, headerSize, headerSize, false
	return nil
}

// firstReserve is how many bytes a segment's file has as soon as there is something in it.
const firstReserve = 64 << 10

// reserve sees to it that the open segment's file is at least size bytes long. It grows by
// doubling: a node that gets little keeps little, and a busy one has syncs that change no file size.
func (w *WAL) reserve(size int64) error {
	if size <= w.length {
		return nil
	}
	more := max(size, min(max(2*w.length, firstReserve), w.o.SegmentSize))
	err := w.file.Reserve(more)
	if err != nil && more > size { // a nearly full disk may have room for this write
		more = size
		err = w.file.Reserve(more)
	}
	if err != nil {
		_ = w.file.Truncate(w.offset) // what a failed try took of a full disk is wanted elsewhere
		return fmt.Errorf("grow log segment %s: %w", w.path(w.number), err)
	}
	w.length = more
	return nil
}

// seal ends the open segment: synced, and no longer than what is in it.
func (w *WAL) seal() error {
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.file.Truncate(w.offset), w.file.Sync())
	if err != nil {
		return fmt.Errorf("seal log segment %s: %w", w.path(w.number), err)
	}
	err = w.file.Close()
	w.file = nil
	return err
}

// fail gives the open segment up: after a failed write or fsync nothing in it beyond
// the durable offset can be believed, and later records may refer to ones that are lost.
func (w *WAL) fail(l span) {
	w.m.errors.Inc()
	w.lose(l)
	w.failed = true
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			w.o.Logger.Error("log segment could not be closed", "path", w.path(w.number), "err", err)
		}
		w.file = nil
	}
}

// lose notes that what waited is gone.
func (w *WAL) lose(l span) {
	if n := len(w.lost); n > 0 && w.lost[n-1].to == l.from {
		w.lost[n-1].to = l.to
	} else if l.to > l.from {
		w.lost = append(w.lost, l)
	}
	w.failures.Add(1)
}

// Rotate makes everything appended so far durable and begins a new segment. It
// returns its number: all records appended before are in lower ones, all
// appended after in this and higher ones. After a failed write it begins anew: what was appended
// since is lost, and later records must not refer to any record before. The caller
// keeps others from appending meanwhile.
func (w *WAL) Rotate() (uint64, error) {
	w.commit.Lock()
	defer w.commit.Unlock()
	_ = w.write(true) // when it fails, whoever waits for it is told, and the segment is given up
	next := w.number + 1
	if w.failed && w.offset == headerSize {
		next = w.number // nothing is in it: tries on a full disk must not leave a file each
	}
	err := w.seal()
	if err == nil {
		err = w.open(next)
	}
	if err != nil {
		w.fail(span{w.written, w.written})
		return 0, err
	}
	return w.number, nil
}

// Size is how many bytes the log has on disk, about: full segments and what is in the open one.
func (w *WAL) Size() int64 {
	w.commit.Lock()
	defer w.commit.Unlock()
	return int64(w.number-w.first.Load())*w.o.SegmentSize + w.offset
}
