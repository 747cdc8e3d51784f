package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/chunk/disk"
)

// watched is a disk that notes how long log segments were when they were cut short or removed.
type watched struct {
	disk.FS
	sizes map[string][]int64 // by file name; the last is of when it was removed
}

func (w *watched) note(path string) {
	if st, err := os.Stat(path); err == nil {
		name := filepath.Base(path)
		w.sizes[name] = append(w.sizes[name], st.Size())
	}
}

func (w *watched) Open(path string) (disk.File, error) {
	w.note(path)
	f, err := w.FS.Open(path)
	return &watchedFile{f, w, path}, err
}

func (w *watched) Remove(path string) error {
	w.note(path)
	return w.FS.Remove(path)
}

type watchedFile struct {
	disk.File
	w    *watched
	path string
}

func (f *watchedFile) Truncate(n int64) error {
	defer f.w.note(f.path)
	return f.File.Truncate(n)
}

// fill writes some segments, and returns the number of the one behind them.
func fill(t *testing.T, w *WAL) uint64 {
	t.Helper()
	rec := make([]byte, dropStep/4)
	for range 30 {
		p, err := w.Append(Samples, rec)
		if err == nil {
			err = w.Sync(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n, err := w.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Segments are given back to the disk in steps, with a rest after each.
func TestDropInSteps(t *testing.T) {
	fs := &watched{disk.OS, map[string][]int64{}}
	w, err := Open(t.TempDir(), Options{FS: fs, SegmentSize: 5 * dropStep / 2}, func(uint64, Type, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	n := fill(t, w)
	rests := 0
	if err := w.Drop(n, func() { rests++ }); err != nil {
		t.Fatal(err)
	}
	steps, large := 0, 0
	for name, sizes := range fs.sizes {
		if !strings.HasSuffix(name, ".wal") {
			continue
		}
		for i := 1; i < len(sizes); i++ {
			if sizes[i-1]-sizes[i] > dropStep {
				t.Errorf("%s is cut from %d to %d bytes at once", name, sizes[i-1], sizes[i])
			}
			if sizes[i] < sizes[i-1] {
				steps++
			}
		}
		if last := sizes[len(sizes)-1]; last > dropStep {
			t.Errorf("%s is removed with %d bytes", name, last)
		}
		if sizes[0] > dropStep {
			large++
		}
	}
	if large < 3 || steps < 2*large || rests < steps {
		t.Errorf("%d large segments have gone in %d steps with %d rests", large, steps, rests)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// A crash in the middle of it leaves a part of a segment, which is not read any more.
func TestInterruptedShrink(t *testing.T) {
	dir := t.TempDir()
	replay := func(want ...string) func(uint64, Type, []byte) error {
		return func(_ uint64, _ Type, rec []byte) error {
			if len(want) == 0 || string(rec) != want[0] {
				return fmt.Errorf("replayed %q, want %q", rec, want)
			}
			want = want[1:]
			return nil
		}
	}
	w, err := Open(dir, Options{}, replay())
	if err != nil {
		t.Fatal(err)
	}
	var end uint64
	for i := range 2 {
		if _, err := w.Append(Samples, fmt.Append(nil, "record ", i)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if end, err = w.Rotate(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFile(disk.OS, filepath.Join(dir, DropFile), []byte(dropLine(end))); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, segmentName(end-1)), headerSize+3); err != nil {
		t.Fatal(err)
	}
	if w, err = Open(dir, Options{}, replay("record 1")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// Who verifies the log while segments are given back takes none of them for damaged.
func TestVerifyDuringDrop(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir, Options{SegmentSize: 5 * dropStep / 2}, func(uint64, Type, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	n := fill(t, w)
	cut, verified, dropped := make(chan bool), make(chan bool), make(chan error)
	second := filepath.Join(dir, segmentName(2))
	whole, err := os.Stat(second)
	if err != nil {
		t.Fatal(err)
	}
	waits := false
	drop := func() {
		dropped <- w.Drop(n, func() {
			if st, err := os.Stat(second); !waits && err == nil && st.Size() < whole.Size() {
				waits = true
				cut <- true
				<-verified
			}
		})
	}
	begun := false
	err = Verify(dir, func(uint64, Type, []byte) error {
		if !begun {
			begun = true
			go drop()
			<-cut
		}
		return nil
	}, func(err error) { t.Error(err) })
	verified <- true
	if err := errors.Join(err, <-dropped, w.Close()); err != nil {
		t.Error(err)
	}
}
