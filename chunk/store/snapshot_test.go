package store

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
)

// held is a disk whose first snapshot gets its name while another one has begun to link.
type held struct {
	disk.FS
	linking, renamed chan struct{}
	second           atomic.Bool // the other one is under way
	met              atomic.Bool // and has linked
	begin            func()
}

func (h *held) Rename(from, to string) error {
	if strings.Contains(from, SnapshotsDir) && !h.second.Swap(true) {
		h.begin()
		<-h.linking
		defer close(h.renamed)
	}
	return h.FS.Rename(from, to)
}

func (h *held) Link(from, to string) error {
	if h.second.Load() && !h.met.Swap(true) {
		close(h.linking)
		<-h.renamed
	}
	return h.FS.Link(from, to)
}

// Of two snapshots of one name at a time one is made, whole, and the other one fails.
func TestTwoSnapshotsOfOneName(t *testing.T) {
	h := &held{FS: disk.OS, linking: make(chan struct{}), renamed: make(chan struct{})}
	s := open(t, t.TempDir(), Options{FS: h})
	defer s.Close()
	if err := s.Append(t.Context(), one("a", series.Sample{T: 1, V: 1})); err != nil {
		t.Fatal(err)
	}
	other := make(chan error, 1)
	h.begin = func() {
		go func() {
			_, err := s.Snapshot(t.Context(), "same")
			other <- err
		}()
	}
	dir, err := s.Snapshot(t.Context(), "same")
	if err != nil {
		t.Fatal(err)
	}
	if err := <-other; !errors.Is(err, os.ErrExist) {
		t.Errorf("the other one: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 1 {
		t.Errorf("there are %v, %v", left, err)
	}
	c := open(t, dir, Options{})
	defer c.Close()
	if st, err := c.Aggregate(t.Context(), 0, math.MaxInt64, every); err != nil || st.Count() != 1 || c.Status(1).Quarantine != nil {
		t.Errorf("the snapshot has %v samples, %v; set aside are %q", st.Count(), err, c.Status(1).Quarantine)
	}
}

// A snapshot cannot have a name that the next start takes for an unfinished one's.
func TestASnapshotOutlivesTheNextStart(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, Options{})
	dir, err := s.Snapshot(t.Context(), "before-upgrade.tmp")
	if cerr := s.Close(); cerr != nil {
		t.Fatal(cerr)
	}
	if err != nil {
		return // refused
	}
	if err := open(t, root, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	if !exists(dir) {
		t.Errorf("%s is gone", dir)
	}
}
