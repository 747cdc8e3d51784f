package cluster

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// lateWorld is a cluster of three with one copy of each series, whose first node's disk is slow: while it stores, the ring changes with the number
// of copies, and longer goes by than the others rely on.
func lateWorld(t *testing.T, rings ...int) *writeWorld {
	w := newWriteWorld(t, 3, 1, WriterOptions{PeerTimeout: 500 * time.Millisecond, Consistency: All})
	w.nodes[0].memory.fail = func() error { // the writer's own; Append waits for it
		if len(rings) > 0 {
			time.Sleep(2 * w.writer.o.PeerTimeout)
			w.ring(t, rings[0], threeActive, nil)
			rings = rings[1:]
		}
		return nil
	}
	return w
}

// A write that this node's disk has held up until the ring is another one goes to those who keep it by now.
func TestSlowDiskAndAnotherRing(t *testing.T) {
	w := lateWorld(t, 3)
	b := simple(30)
	if err := w.writer.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	w.settle()
	for _, e := range b.Series {
		stored := 0
		for _, n := range w.nodes {
			stored += min(1, len(n.memory.samples[string(e.Key)]))
		}
		if stored < 2 {
			t.Fatalf("%q is acknowledged, and %d of three have it", e.Key, stored)
		}
	}
	if got := testutil.ToFloat64(w.writer.m.restarts); got != 1 {
		t.Errorf("sent anew %v times", got)
	}
}

// When that happens again, the sender has to: nobody knows who keeps it.
func TestSlowDiskAndTwoOtherRings(t *testing.T) {
	w := lateWorld(t, 3, 2)
	if err := w.writer.Append(context.Background(), simple(30)); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// What has to be sent again, with labels, has no more time than the first request left it: others rely on how long a write is under way.
func TestSecondRequestHasTheTimeOfTheFirst(t *testing.T) {
	const timeout = 2 * time.Second
	w := newWriteWorld(t, 2, 2, WriterOptions{PeerTimeout: timeout, Consistency: All})
	if err := w.writer.Append(context.Background(), simple(3)); err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	end := make(chan struct{})
	w.nodes[1].before = func(rw http.ResponseWriter, r *http.Request) bool {
		if requests.Add(1) > 1 {
			<-end
			return refuse(http.StatusServiceUnavailable)(rw, r)
		}
		time.Sleep(timeout * 3 / 4)
		return refuse(http.StatusPreconditionFailed)(rw, r)
	}
	began := time.Now()
	err := w.writer.Append(context.Background(), simple(3))
	took := time.Since(began)
	close(end)
	if w.settle(); !errors.Is(err, series.ErrUnavailable) || requests.Load() != 2 || took > timeout*17/10 { // 1.75, if each had its own
		t.Errorf("%d requests in %v: %v", requests.Load(), took, err)
	}
}

// A node that is alone when a write comes, and has others when its disk has stored that, gives it to them too.
func TestSlowDiskAndFirstOthers(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{PeerTimeout: 500 * time.Millisecond}) // also on a busy machine
	both := []shard.State{shard.Active, shard.Active}
	w.ring(t, 2, both[:1], nil)
	w.nodes[0].memory.fail = sync.OnceValue(func() error {
		time.Sleep(2 * w.writer.o.PeerTimeout)
		w.ring(t, 2, both, nil)
		return nil
	})
	if err := w.writer.Append(t.Context(), simple(3)); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if n := w.nodes[1].memory.count(); n != 3 {
		t.Errorf("3 samples are acknowledged, and the second of two owners has %d", n)
	}
}
