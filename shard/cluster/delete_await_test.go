package cluster

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/peer"
)

// knowing makes the writer of a cluster of three say what its node has applied; the other nodes wait for so long for what they have not heard of.
func knowing(t *testing.T, patience time.Duration) *writeWorld {
	w := newWriteWorld(t, 3, 3, WriterOptions{Consistency: All, HintEvery: time.Millisecond})
	w.writer.client = peer.NewClient(peer.ClientOptions{Self: nodeID(0), Epoch: w.nodes[0].epoch, Deletes: func() uint64 { return w.nodes[0].deleter.Digest().Lo }})
	t.Cleanup(w.writer.client.Close)
	w.writer.o.Newest = w.nodes[0].deleter.Newest
	for _, n := range w.nodes {
		n.deleter.o.Patience = patience
	}
	return w
}

// What is written after a delete is stored after it, also on a node that hears of the delete later than of the write.
func TestDeleteBeforeYoungerWrites(t *testing.T) {
	w := knowing(t, time.Minute)
	now := time.Now().UnixMilli()
	w.nodes[0].hear(t, "1", now)
	w.nodes[1].hear(t, "1", now)
	heard := make(chan struct{})
	w.nodes[2].before = func(http.ResponseWriter, *http.Request) bool {
		go func() {
			defer close(heard)
			time.Sleep(50 * time.Millisecond)
			w.nodes[2].hear(t, "1", now)
		}()
		return false
	}
	if err := w.writer.Append(t.Context(), simple(5)); err != nil {
		t.Fatal(err)
	}
	<-heard
	for i, node := range w.nodes {
		if n := node.memory.count(); n == 0 {
			t.Errorf("what was written after a delete is deleted on node %d", i)
		}
	}
}

// A node that does not hear of a delete in time takes no writes of those who have applied it, and gets them as hints when it has heard.
func TestDeleteNobodyTells(t *testing.T) {
	w := knowing(t, 20*time.Millisecond)
	w.writer.SetConsistency(Quorum)
	now := time.Now().UnixMilli()
	w.nodes[0].hear(t, "1", now)
	w.nodes[1].hear(t, "1", now)
	if err := w.writer.Append(t.Context(), simple(5)); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if n := w.nodes[2].memory.count(); n > 0 || len(w.hints.of("n2")) != 1 {
		t.Errorf("a node that has not heard of a delete has %d samples, %d hints wait for it", n, len(w.hints.of("n2")))
	}
	w.nodes[2].hear(t, "1", now)
	runHints(t, w.writer)
	until(t, "the hints are replayed", func() bool { return w.nodes[2].memory.count() > 0 })
}

// Nobody waits for a sender who has heard less than the node: it is younger deletes that matter.
func TestDeletesOfSendersBehind(t *testing.T) {
	w := knowing(t, time.Millisecond)
	d := w.nodes[2].deleter
	var digests []uint64
	for i, key := range []string{"1", "2", "3"} {
		digests = append(digests, d.Digest().Lo)
		w.nodes[2].hear(t, key, int64(i))
	}
	for _, theirs := range append(digests, d.Digest().Lo) {
		if err := d.Await(t.Context(), theirs); err != nil {
			t.Errorf("a sender of %016x: %v", theirs, err)
		}
	}
	if err := d.Await(t.Context(), 42); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("a sender who has applied what nobody here knows: %v", err)
	}
}
