package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/disk"
)

// A crash at any point of Drop leaves a log that opens by itself, with all that was not dropped and nothing that refers to what is gone.
func TestInterruptedDrop(t *testing.T) {
	for keep := range 1 << 3 { // which of the dropped segments are still there
		dir := t.TempDir()
		var got []string
		open := func() *WAL {
			got = nil
			w, err := Open(dir, Options{SegmentSize: 1 << 16}, func(_ uint64, _ Type, rec []byte) error {
				got = append(got, string(rec))
				return nil
			})
			if err != nil {
				t.Fatalf("keep %03b: %v", keep, err)
			}
			return w
		}
		w := open()
		for i := range 4 {
			p, err := w.Append(Samples, fmt.Appendf(nil, "record %d", i))
			if err == nil {
				err = w.Sync(p)
			}
			if err == nil {
				_, err = w.Rotate()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		ns, err := Segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.WriteFile(disk.OS, filepath.Join(dir, DropFile), []byte(dropLine(ns[3]))); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if keep&(1<<i) == 0 {
				if err := os.Remove(filepath.Join(dir, segmentName(ns[i]))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := open().Close(); err != nil {
			t.Fatal(err)
		}
		if want := []string{"record 3"}; !slices.Equal(got, want) {
			t.Fatalf("keep %03b: replayed %q, want %q", keep, got, want)
		}
	}
}

// All segments may be gone: numbers still go on.
func TestNumbersGoOnAfterDrop(t *testing.T) {
	dir := t.TempDir()
	if err := disk.WriteFile(disk.OS, filepath.Join(dir, DropFile), []byte(dropLine(7))); err != nil {
		t.Fatal(err)
	}
	w, err := Open(dir, Options{}, func(uint64, Type, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if ns, err := Segments(dir); err != nil || len(ns) != 1 || ns[0] < 7 {
		t.Fatalf("segments %v, %v", ns, err)
	}
}

// slow is a disk that takes its time to remove.
type slow struct {
	disk.FS
	removing, removed chan struct{}
}

func (s *slow) Remove(path string) error {
	s.removing <- struct{}{}
	<-s.removed
	return s.FS.Remove(path)
}

// Nobody who appends waits for old segments to go.
func TestAppendsGoOnDuringDrop(t *testing.T) {
	fs := &slow{disk.OS, make(chan struct{}), make(chan struct{})}
	w, err := Open(t.TempDir(), Options{FS: fs}, func(uint64, Type, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(Samples, []byte("old")); err != nil {
		t.Fatal(err)
	}
	n, err := w.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	dropped := make(chan error, 1)
	go func() { dropped <- w.Drop(n, func() {}) }()
	<-fs.removing
	appended := make(chan error, 1)
	go func() {
		p, err := w.Append(Samples, []byte("new"))
		if err == nil {
			err = w.Sync(p)
		}
		if err == nil && w.Size() == 0 {
			err = fmt.Errorf("the log is empty")
		}
		appended <- err
	}()
	select {
	case err := <-appended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("an append waits for a segment to be removed")
	}
	close(fs.removed)
	if err := <-dropped; err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
