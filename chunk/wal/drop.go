package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/minitrue/minitrue/chunk/disk"
)

// DropFile says which segments are to be removed. It is durable before the first of them goes: a crash in between must
// not leave some, since their records refer to those before.
const DropFile = "dropped"

// dropStep is how many bytes of a segment are given back to the disk at a time. A file system that gives back whole segments makes the next sync of
// the log wait for it.
const dropStep = 4 << 20

// Drop removes all segments below number n, in steps between which it calls rest. Others append meanwhile.
func (w *WAL) Drop(n uint64, rest func()) error {
	w.drop.Lock()
	defer w.drop.Unlock()
	first := w.first.Load()
	if first >= n {
		return nil
	}
	if err := disk.WriteFile(w.o.FS, filepath.Join(w.dir, DropFile), []byte(dropLine(n))); err != nil {
		return fmt.Errorf("drop log segments: %w", err)
	}
	for ; first < n; first++ {
		w.shrink(w.path(first), rest)
		if err := w.o.FS.Remove(w.path(first)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("drop log segment: %w", err)
		}
		w.first.Store(first + 1)
	}
	return w.o.FS.SyncDir(w.dir)
}

// shrink takes most of a segment's room away. What fails here is left to removing the file.
func (w *WAL) shrink(path string, rest func()) {
	st, err := os.Stat(path)
	if err != nil || st.Size() <= dropStep {
		return
	}
	f, err := w.o.FS.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	for size := st.Size() - dropStep; size > 0; size -= dropStep {
		if f.Truncate(size) != nil {
			return
		}
		rest()
	}
}

func dropLine(n uint64) string {
	s := fmt.Sprintf("%d", n)
	return fmt.Sprintf("%s %08x\n", s, crc32.Checksum([]byte(s), castagnoli))
}

// readDrop returns the number below which all segments are dropped; 0 is none.
func readDrop(dir string) (end uint64, err error) {
	path := filepath.Join(dir, DropFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(string(b), "%d ", &end); err != nil || end == 0 || string(b) != dropLine(end) {
		return 0, &CorruptError{path, 0, "checksum mismatch"}
	}
	return end, nil
}

// finishDrop removes what an interrupted Drop left.
func (w *WAL) finishDrop(ns []uint64) ([]uint64, error) {
	end, err := readDrop(w.dir)
	if err != nil {
		return nil, fmt.Errorf("open log: %w; remove the file: if the log then does not open, its oldest segments were about to go", err)
	}
	if end == 0 {
		return ns, nil
	}
	w.number = end - 1 // whatever is left, no new segment is one of those
	for len(ns) > 0 && ns[0] < end {
		if err := w.o.FS.Remove(w.path(ns[0])); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
		ns = ns[1:]
	}
	return ns, w.o.FS.SyncDir(w.dir)
}
