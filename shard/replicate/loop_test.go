package replicate

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/remote"
	"github.com/minitrue/minitrue/shard/cluster"
)

// Two clusters send each other what they accept, by way of the doors that they have: each sample goes over once.
func TestNoLoop(t *testing.T) {
	type side struct {
		own *ownCluster
		r   *Replicator
		to  atomic.Pointer[http.Handler]
		n   atomic.Int64 // requests
	}
	var sides [2]side
	var servers [2]*httptest.Server
	for i := range sides {
		servers[i] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sides[i].n.Add(1)
			(*sides[i].to.Load()).ServeHTTP(w, r)
		}))
		t.Cleanup(servers[i].Close)
	}
	for i := range sides {
		s := &sides[i]
		s.own = &ownCluster{}
		s.r = newReplicator(t, t.TempDir(), s.own, Options{}, servers[1-i].URL)
		h := Accept(remote.NewWriteHandler(s.r, remote.WriteOptions{}))
		s.to.Store(&h)
	}
	for i := range sides {
		start(t, sides[i].r)
	}
	for i := range 10 {
		put(t, sides[0].r, batchOf(20, int64(i), 1))
		put(t, sides[1].r, batchOf(30, int64(i), 1))
	}
	until(t, "both have everything", func() bool { return sides[0].own.stored.Load() >= 500 && sides[1].own.stored.Load() >= 500 })
	for i := range sides { // each has had the answers of the other, and has counted what came, then
		until(t, "nothing waits", func() bool { return sides[i].r.targets[0].queue.Pending(queueName) == 0 })
	}
	for i := range sides {
		if got := sides[i].own.stored.Load(); got != 500 {
			t.Errorf("side %d stored %d samples", i, got)
		}
		if got, want := testutil.ToFloat64(sides[i].r.targets[0].m.sent), float64([]int{200, 300}[i]); got != want {
			t.Errorf("side %d sent %v samples, want %v", i, got, want)
		}
		if got := testutil.ToFloat64(sides[i].r.received); got == 0 || got > 10 {
			t.Errorf("side %d received %v batches", i, got)
		}
	}
}

func TestTwoTargets(t *testing.T) {
	a, b := newOther(t), newOther(t)
	var down atomic.Bool
	down.Store(true)
	b.answer = func(w http.ResponseWriter, _ *http.Request, _ *prompb.WriteRequest) (bool, bool) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
		return down.Load(), false
	}
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{}, a.URL, b.URL)
	start(t, r)
	put(t, r, batchOf(10, 1, 1))
	until(t, "the first has it, though the second is down", func() bool { return a.has() == 10 })
	if b.has() != 0 {
		t.Error("the second has it")
	}
	down.Store(false)
	until(t, "the second has it", func() bool { return b.has() == 10 })
	if _, err := New(t.TempDir(), &ownCluster{}, Options{Targets: []string{a.URL, a.URL}, Encode: cluster.Encode}); err == nil {
		t.Error("a target may be there twice")
	}
}

// A queue whose target is not named any more is not forgotten in silence.
func TestQueueIsLeft(t *testing.T) {
	dir, log := t.TempDir(), &logged{}
	r := newReplicator(t, dir, &ownCluster{}, Options{}, "http://gone:8080")
	put(t, r, batchOf(1, 1, 1))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(dir, &ownCluster{}, Options{Logger: slog.New(slog.NewTextHandler(log, nil))}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "gone_8080-") {
		t.Errorf("the log: %s", log)
	}
}
