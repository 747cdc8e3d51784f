package ingest

import (
	"context"
	"fmt"
	"sync"

	"github.com/minitrue/minitrue/chunk/series"
)

// gate bounds the samples that are under way at once. Who finds no room waits in
// line; when the line is full, the gate answers series.ErrOverload.
type gate struct {
	size    int // samples
	maxLine int // batches

	mu   sync.Mutex // guards free and line
	free int
	line []*waiter // first come, first served
}

type waiter struct {
	weight int
	room   chan struct{} // closed when the weight has been taken for this waiter
}

func newGate(size, maxLine int) *gate { return &gate{size: size, maxLine: maxLine, free: size} }

// enter takes room for a batch of this weight, and leave gives it back. A batch larger than
// the gate takes all of it.
func (g *gate) enter(ctx context.Context, weight int) error {
	weight = min(weight, g.size)
	g.mu.Lock()
	if len(g.line) == 0 && g.free >= weight {
		g.free -= weight
		g.mu.Unlock()
		return nil
	}
	if len(g.line) >= g.maxLine {
		g.mu.Unlock()
		return fmt.Errorf("%d batches wait already: %w", g.maxLine, series.ErrOverload)
	}
	w := &waiter{weight: weight, room: make(chan struct{})}
	g.line = append(g.line, w)
	g.mu.Unlock()

	select {
	case <-w.room:
		return nil
	case <-ctx.Done():
		g.abandon(w)
		return fmt.Errorf("wait for other writes: %w", ctx.Err())
	}
}

func (g *gate) leave(weight int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free += min(weight, g.size)
	g.admit()
}

// abandon takes w out of the line, or gives back the room that it got meanwhile.
func (g *gate) abandon(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.room:
		g.free += w.weight
	default:
		for i, o := range g.line {
			if o == w {
				g.line = append(g.line[:i], g.line[i+1:]...)
				break
			}
		}
	}
	g.admit()
}

// admit lets in whoever is first in line and fits. It is called with mu held.
func (g *gate) admit() {
	for len(g.line) > 0 && g.free >= g.line[0].weight {
		g.free -= g.line[0].weight
		close(g.line[0].room)
		g.line[0] = nil
		g.line = g.line[1:]
	}
}

// load is the samples under way and the batches in line.
func (g *gate) load() (samples, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size - g.free, len(g.line)
}
