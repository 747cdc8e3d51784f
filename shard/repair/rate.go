package repair

import (
	"context"
	"sync"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// limiter spreads what is taken from peers over time. Bytes are paid for after they came.
type limiter struct {
	rate int64 // bytes a second

	mu   sync.Mutex // guards free
	free time.Time  // when all that came is paid for
}

// take returns how long to wait before the next bytes are asked for.
func (l *limiter) take(now time.Time, bytes int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(bytes) / float64(l.rate) * float64(time.Second)))
	return l.free.Sub(now)
}

// weigh counts a batch's samples, and its bytes before compression.
func weigh(b *series.Batch) (samples, bytes int) {
	samples = len(b.Samples) + len(b.Histograms)
	bytes = 16*len(b.Samples) + 256*len(b.Histograms)
	for i := range b.Series {
		bytes += len(b.Series[i].Key)
	}
	return samples, bytes
}

func wait(ctx context.Context, d time.Duration) error { return sleep(ctx, d, nil) }

// sleep waits for a time, a signal, or the end of the context.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wake:
	case <-t.C:
	}
	return nil
}

// signal wakes up whoever waits, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
