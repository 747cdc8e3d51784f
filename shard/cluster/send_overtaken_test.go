package cluster

import (
	"testing"
	"time"
)

// A write has its time, and before it is stored anywhere all nodes apply a delete that is younger. What is acknowledged is with all owners: the others
// leave out what is older than the delete, and so the node to which it came must not store it either.
func TestDeleteOvertakesOwnWrite(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{Consistency: All})
	w.writer.o.Live = w.nodes[0].deleter.Live
	deleted := false
	w.writer.o.Newest = func() int64 {
		newest := w.nodes[0].deleter.Newest()
		if !deleted {
			deleted = true
			now := time.Now().UnixMilli()
			for _, n := range w.nodes {
				n.hear(t, "1", now)
			}
		}
		return newest
	}
	if err := w.writer.Append(t.Context(), simple(5)); err != nil {
		t.Fatal(err)
	}
	w.settle()
	for i, n := range w.nodes {
		if got, want := n.memory.count(), w.nodes[1].memory.count(); got != want || got == 0 {
			t.Errorf("an acknowledged write: node %d has %d samples, node 1 has %d", i, got, want)
		}
	}
}
