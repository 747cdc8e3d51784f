package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// kills is how often a node is killed: 5 times, or as often as the environment says.
func kills(t *testing.T) int {
	text := os.Getenv("MINITRUE_KILLS")
	switch {
	case text != "":
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("MINITRUE_KILLS: %v", err)
		}
		return n
	case testing.Short():
		return 2
	}
	return 5
}

// A node is killed again and again, at any moment, while Prometheus and sensors write and small
// memtables are flushed and merged all the time. It comes back by itself, and what it acknowledged
// is there, once and as it was sent.
func TestKill(t *testing.T) {
	t.Parallel()
	n := newNode(t, "--memtable-size=1MB")
	n.start(t)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, n.url, 20_000, 150_000) // few samples of many series soon fill a memtable
	var writers []*writer
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait) // nobody says anything about a test that has ended
	for i := range 4 {
		w := newWriter(n, fmt.Sprintf("writer-%d", i))
		writers = append(writers, w)
		wg.Go(func() { w.run(ctx) })
		wg.Go(func() { w.watch(ctx, t, n.url) })
	}

	proc.Until(t, "a memtable is written", func() error {
		blocks, err := filepath.Glob(filepath.Join(n.data, "blocks", "*", "meta.json"))
		if err == nil && len(blocks) == 0 {
			err = errors.New("there is no block")
		}
		return err
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range kills(t) {
		moment := time.NewTimer(time.Duration(rnd.Int64N(int64(800 * time.Millisecond))))
		select {
		case <-ctx.Done():
		case <-moment.C:
		}
		n.Kill(t)
		if i%3 == 2 { // and in the middle of its start
			n.launch(t)
			time.Sleep(time.Duration(rnd.Int64N(int64(100 * time.Millisecond))))
			n.Kill(t)
		}
		n.start(t)
	}
	stop()
	wg.Wait()
	l.check(t, n.url)
	for _, w := range writers {
		w.check(t, n)
	}
}
