// Package duty holds work back that nobody waits for, so that those who write and ask have the processor when they want it. Such work goes on in
// slices that are shorter than those in which an operating system shares a core out, and rests after each.
package duty

import (
	"context"
	"time"
)

// Cycle is of one piece of work, in one goroutine. The zero value is usable.
type Cycle struct {
	Now  func() time.Time                           // nil means time.Now
	Wait func(ctx context.Context, d time.Duration) // returns when the context ends, too; nil means to wait

	began time.Time // of the slice; zero before the first
}

// Slice is how long work goes on without a rest, or a little longer: until Rest is called.
const Slice = 500 * time.Microsecond

// Rest is called often while working. When a slice is over it waits for so long that the work was part of the time; where part is 1 it does
// not wait.
func (c *Cycle) Rest(ctx context.Context, part float64) {
	now, wait := c.Now, c.Wait
	if now == nil {
		now = time.Now
	}
	if wait == nil {
		wait = Sleep
	}
	t := now()
	if c.began.IsZero() {
		c.began = t
	}
	worked := t.Sub(c.began)
	if worked < Slice {
		return
	}
	if part < 1 {
		wait(ctx, time.Duration(float64(worked)*(1-part)/part))
	}
	c.began = now()
}

type restKey struct{}

// Resting returns a context of work that rests: [Rest] calls rest, as often as it is called itself.
func Resting(ctx context.Context, rest func()) context.Context {
	return context.WithValue(ctx, restKey{}, rest)
}

// Rest is for work of which those who asked for it know whether it may rest, and say so by [Resting]. It is called in the goroutine that they
// asked in, as often as Cycle.Rest.
func Rest(ctx context.Context) {
	if rest, ok := ctx.Value(restKey{}).(func()); ok {
		rest()
	}
}

// Sleep waits for a time, or until the context ends.
func Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
