package store

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
)

// gate is a disk on which, once it is shut, the next new folder waits until it is opened.
type gate struct {
	disk.FS
	mu             sync.Mutex
	shut           bool
	reached, opens chan struct{}
}

func (g *gate) Mkdir(path string) error {
	g.mu.Lock()
	wait := g.shut && filepath.Base(filepath.Dir(path)) == "blocks"
	g.shut = g.shut && !wait
	g.mu.Unlock()
	if wait {
		close(g.reached)
		<-g.opens
	}
	return g.FS.Mkdir(path)
}

// A merge takes long: a memtable that was active when it began must not stay in memory until it ends.
func TestMergeHoldsNoMemtables(t *testing.T) {
	g := &gate{FS: disk.OS, reached: make(chan struct{}), opens: make(chan struct{})}
	s := open(t, t.TempDir(), Options{FS: g})
	add := func(ts int64) {
		t.Helper()
		if err := s.Append(t.Context(), one("a", series.Sample{T: ts, V: 1})); err != nil {
			t.Fatal(err)
		}
	}
	flush := func() {
		t.Helper()
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		add(int64(i))
		flush()
	}
	add(2)
	s.viewMu.Lock()
	active := s.tables[0]
	s.viewMu.Unlock()
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	merged := make(chan error)
	go func() { merged <- s.CompactAll(t.Context()) }()
	<-g.reached
	flush()
	if n := active.users.Load(); n != 0 {
		t.Errorf("a memtable that is flushed has %d users while blocks are merged", n)
	}
	close(g.opens)
	if err := <-merged; err != nil {
		t.Fatal(err)
	}
}
