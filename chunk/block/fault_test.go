package block

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/minitrue/minitrue/chunk/disk"
)

var errDisk = errors.New("the disk is full")

// failing is a disk whose calls fail when the budget is used up.
type failing struct {
	disk.FS
	left int
}

func (d *failing) spend() error {
	if d.left--; d.left < 0 {
		return errDisk
	}
	return nil
}

func (d *failing) Create(path string) (disk.File, error) {
	if err := d.spend(); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(path)
	return failingFile{f, d}, err
}

func (d *failing) SyncDir(path string) error {
	if err := d.spend(); err != nil {
		return err
	}
	return d.FS.SyncDir(path)
}

func (d *failing) Rename(from, to string) error {
	if err := d.spend(); err != nil {
		return err
	}
	return d.FS.Rename(from, to)
}

type failingFile struct {
	disk.File
	d *failing
}

func (f failingFile) Write(p []byte) (int, error) {
	if err := f.d.spend(); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f failingFile) Sync() error {
	if err := f.d.spend(); err != nil {
		return err
	}
	return f.File.Sync()
}

// Whichever write or fsync fails, there is no block, nothing is left behind, and the next try works.
func TestFailingDisk(t *testing.T) {
	model := randomModel(t, rand.New(rand.NewPCG(2, 2)), 30)
	root := t.TempDir()
	for budget := 0; ; budget++ {
		o := WriterOptions{FS: &failing{disk.OS, budget}}
		err := writeWith(root, o, model)
		ids, listErr := List(root)
		if listErr != nil {
			t.Fatal(listErr)
		}
		if err == nil {
			if len(ids) != 1 || budget < 12 {
				t.Fatalf("%v with a budget of %d", ids, budget)
			}
			compare(t, openBlock(t, filepath.Join(root, ids[0].String())), model)
			return
		}
		if !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		if entries, _ := os.ReadDir(root); len(entries) != 0 {
			t.Fatalf("budget %d left %v", budget, entries)
		}
	}
}

func writeWith(root string, o WriterOptions, model []modelSeries) error {
	w, err := Create(root, o)
	if err != nil {
		return err
	}
	for _, s := range model {
		if err := w.Append(s.Series, s.chunks); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	_, err = w.Commit(Origin{})
	return err
}

// Many readers touch row groups for the first time at once, while the block is closed.
func TestConcurrentReaders(t *testing.T) {
	model := randomModel(t, rand.New(rand.NewPCG(6, 6)), 200)
	root := t.TempDir()
	b, err := Open(filepath.Join(root, write(t, root, model).ULID.String()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		if !b.Retain() {
			t.Fatal("not retained")
		}
		wg.Go(func() {
			defer b.Release()
			for ord := range uint32(len(model)) {
				rows, err := b.Chunks(nil, ord, math.MinInt64, math.MaxInt64)
				if err != nil || len(rows) != len(model[ord].chunks) {
					t.Errorf("series %d: %v, %v", ord, rows, err)
				}
				for _, r := range rows {
					if _, err := b.Chunk(r); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}
