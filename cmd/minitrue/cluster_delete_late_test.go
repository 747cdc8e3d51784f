package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// A node that was away while something was deleted hears of that before it lets anybody write: else what is written to it when it is back would be
// deleted as well, and no other node has a copy.
func TestClusterDeleteBeforeWrites(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3, "--replication-factor=1")
	nodes[2].Kill(t)
	untilDeleted(t, nodes[0], "sequence")
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	defer ended.Wait()
	defer stop()
	var writers []*writer
	for i := range 8 { // of which the third owns some
		w := newWriter(nodes[2], fmt.Sprintf("late-%d", i))
		w.pause = 10 * time.Millisecond
		writers = append(writers, w)
		ended.Go(func() { w.run(ctx) })
	}
	nodes[2].start(t)
	for _, w := range writers {
		proc.Until(t, w.device+" is acknowledged", func() error {
			if w.some.Load() == 0 {
				return fmt.Errorf("nothing is")
			}
			return nil
		})
	}
	untilActive(t, nodes, 3)
	stop()
	ended.Wait()
	for _, w := range writers {
		untilCounted(t, nodes, w.device, len(w.acked))
	}
}

// A node that reaches no other comes up all the same, and answers for what it has.
func TestClusterBeginsAlone(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 2)
	w := filled(t, nodes[0], "device")
	for _, n := range nodes {
		n.Kill(t)
	}
	nodes[0].start(t) // until it is ready
	untilCounted(t, nodes[:1], "device", len(w.acked))
	nodes[1].start(t)
	untilActive(t, nodes, 2)
}
