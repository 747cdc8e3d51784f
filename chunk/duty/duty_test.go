package duty

import (
	"context"
	"testing"
	"time"
)

// The rest after each slice makes the work its part of the time, however long the slice was.
func TestRest(t *testing.T) {
	for _, part := range []float64{0.1, 0.25, 0.5, 1} {
		var now, worked, rested time.Duration
		c := Cycle{Now: func() time.Time { return time.Unix(0, 0).Add(now) }}
		c.Wait = func(_ context.Context, d time.Duration) {
			now += d
			rested += d
		}
		for i := range 10_000 {
			c.Rest(t.Context(), part)
			step := Slice / 7
			if i%100 == 0 {
				step = 20 * Slice
			}
			now += step
			worked += step
		}
		got := float64(worked) / float64(worked+rested)
		if got < part*0.999 || got > part*1.01+1e-3 {
			t.Errorf("it works %.3f of its time, want %v", got, part)
		}
	}
}

func TestShortWorkDoesNotRest(t *testing.T) {
	now := time.Unix(0, 0)
	c := Cycle{Now: func() time.Time { return now }, Wait: func(context.Context, time.Duration) { t.Error("it rests") }}
	c.Rest(t.Context(), 0.1)
	now = now.Add(Slice - 1)
	c.Rest(t.Context(), 0.1)
}

func TestTheContextEndsARest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	now := time.Unix(0, 0)
	c := Cycle{Now: func() time.Time { now = now.Add(time.Hour); return now }}
	c.Rest(ctx, 0.5)
	c.Rest(ctx, 0.5) // for an hour
}

// Work rests as the context says, which asked for it.
func TestRestOfAContext(t *testing.T) {
	Rest(t.Context())
	rests := 0
	ctx := Resting(t.Context(), func() { rests++ })
	Rest(ctx)
	Rest(context.WithoutCancel(ctx))
	if rests != 2 {
		t.Errorf("it has rested %d times, want 2", rests)
	}
}
