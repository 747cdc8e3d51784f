package compact

import (
	"context"
	"time"
)

// Pace holds work back that nobody waits for, so that it takes a part of its time only: it works in short slices and rests after each. Where all
// cores are busy, a write waits for a slice at most. The zero value is usable.
type Pace struct {
	Now  func() time.Time                           // nil means time.Now
	Wait func(ctx context.Context, d time.Duration) // returns when the context ends, too; nil means to wait

	began time.Time // of the slice; zero before the first
}

// slice is how long work goes on without a rest, unless Rest is called less often.
const slice = 2 * time.Millisecond

// Rest is called often while working. When a slice is over it waits for so long that the work was duty's part of the time; a duty of 1 does
// not wait. The context ends a rest.
func (p *Pace) Rest(ctx context.Context, duty float64) {
	now, wait := p.Now, p.Wait
	if now == nil {
		now = time.Now
	}
	if wait == nil {
		wait = sleep
	}
	t := now()
	if p.began.IsZero() {
		p.began = t
	}
	worked := t.Sub(p.began)
	if worked < slice {
		return
	}
	if duty < 1 {
		wait(ctx, time.Duration(float64(worked)*(1-duty)/duty))
	}
	p.began = now()
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
