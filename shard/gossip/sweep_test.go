package gossip

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minitrue/minitrue/shard/merkle"
)

// putDeletes puts records of deletes until there is no room, and says how many there was room for.
func putDeletes(t *testing.T, c *Cluster, name string) (n int) {
	t.Helper()
	for {
		some := map[string][]byte{}
		for range 5000 {
			some[fmt.Sprintf("%s%s%06d", DeletePrefix, name, n+len(some))] = []byte("what was deleted")
		}
		if err := c.Put(some); err != nil {
			return len(c.Others())
		}
		if n += len(some); n > merkle.MaxRecords {
			t.Fatal("there is no end")
		}
	}
}

// However much is deleted, the cluster can still change, and when deletes are long forgotten there is room for others.
func TestRoomBesideDeletes(t *testing.T) {
	now := time.Now()
	o := Options{Dir: t.TempDir(), Now: func() time.Time { return now }}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	first := putDeletes(t, c, "a")
	if first < merkle.MaxRecords/2 {
		t.Errorf("there was room for %d deletes", first)
	}
	if err := c.SetSetting("replication-factor", "2"); err != nil {
		t.Errorf("after many deletes the cluster cannot change: %v", err)
	}
	old := map[string][]byte{}
	for key := range c.Others() {
		old[key] = nil
	}
	if err := c.Put(old); err != nil {
		t.Fatal(err)
	}
	now = now.Add(3 * 30 * 24 * time.Hour)
	if err := c.sweep(); err != nil {
		t.Fatal(err)
	}
	if n := putDeletes(t, c, "b"); n < first-10 {
		t.Errorf("there is room for %d deletes now, and was for %d", n, first)
	}
}

// What was swept does not come back from a node that has it still, and all nodes have the same records after it.
func TestSweptStaysAway(t *testing.T) {
	var late atomic.Bool
	now := time.Now()
	w := newWorld(t)
	options := func(i int, seeds ...string) Options {
		o := w.options(i, seeds...)
		o.Now = func() time.Time {
			if late.Load() {
				return now
			}
			return now.Add(-100 * 24 * time.Hour)
		}
		return o
	}
	a := w.start(options(1))
	b := w.join(options(2, addrOf(1)), a)
	if err := a.Put(map[string][]byte{DeletePrefix + "x": []byte("1"), DeletePrefix + "y": []byte("2")}); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b)
	w.kill(b)
	if err := a.Put(map[string][]byte{DeletePrefix + "x": nil}); err != nil {
		t.Fatal(err)
	}
	late.Store(true)
	if err := a.sweep(); err != nil {
		t.Fatal(err)
	}
	if n := len(a.Others()); n != 0 {
		t.Errorf("it has %d records of deletes", n)
	}
	a.mu.Lock()
	if n := a.set.Older(DeletePrefix, versionOf(a.now())); n != 0 {
		t.Errorf("it has %d records of deletes that were taken back", n)
	}
	a.mu.Unlock()
	again := w.start(b.o)
	agree(t, a, again)
	if len(a.Others())+len(again.Others()) != 0 {
		t.Errorf("what was swept is back: %q and %q", a.Others(), again.Others())
	}
}
