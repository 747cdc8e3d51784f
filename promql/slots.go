package promql

import (
	"context"
	"errors"
	"fmt"

	prom "github.com/prometheus/prometheus/promql"
)

// slots bounds how many run at a time. It is the engine's QueryTracker.
type slots struct{ free chan struct{} }

func newSlots(n int) *slots { return &slots{make(chan struct{}, n)} }

// busyError: every slot was taken until the time was over.
type busyError struct{ max int }

func (e busyError) Error() string {
	return fmt.Sprintf("too many queries at once: %d are running and none ended within the timeout, try again later", e.max)
}

func (s *slots) GetMaxConcurrent() int { return cap(s.free) }

// Insert takes a slot, and waits for one as long as ctx lasts.
func (s *slots) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case s.free <- struct{}{}:
		return 0, nil
	default:
	}
	select {
	case s.free <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return 0, prom.ErrQueryCanceled("query queue")
		}
		return 0, busyError{cap(s.free)}
	}
}

// Delete gives a slot back.
func (s *slots) Delete(int) { <-s.free }

func (s *slots) Close() error { return nil }
