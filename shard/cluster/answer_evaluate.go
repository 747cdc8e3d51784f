package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// The answer to an evaluation is frames of two kinds, told apart by their first byte: signs of life, which are nothing else, until the
// answer is there; and then its bytes.
const (
	frameAlive  = 0
	frameAnswer = 1
)

// alive is how often a node that evaluates says so: a node that is silent for longer than leastHedge is taken for slow.
const alive = leastHedge / 3

// evaluate answers with what a request of another node comes to.
func (h *ReadHandlers) evaluate(ctx context.Context, w *answerWriter, q *request) error {
	ctx, cancel := context.WithCancel(series.AllowResolution(ctx, q.resolution))
	defer cancel()
	quiet := w.live(cancel)
	answer, err := h.o.Evaluate(ctx, q.plan)
	quiet()
	for err == nil && len(answer) > 0 {
		n := min(len(answer), frameBytes)
		err = w.Write(append([]byte{frameAnswer}, answer[:n]...))
		answer = answer[n:]
	}
	return err
}

// live sends signs of life until quiet is called, and calls gone when the other node does not take them.
func (w *answerWriter) live(gone func()) (quiet func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(alive)
		defer t.Stop()
		for {
			if err := w.Write([]byte{frameAlive}); err != nil {
				gone()
				return
			}
			w.flush()
			select {
			case <-t.C:
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}
