// Package progress tells a person how far long work has come: one line, written over on a terminal, and one now and then
// in a log. What it writes is for eyes alone and goes to standard error, so that standard output stays what was asked for.
//
//	verify     41 %  1.2 GiB of 2.9 GiB, 310 MiB/s, 6s left
package progress

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// Meter counts work. Its methods may be called from many goroutines; a nil Meter counts nothing.
type Meter struct {
	w      io.Writer
	what   string
	format func(n float64) string
	every  time.Duration
	line   bool // the last line can be written over
	start  time.Time
	done   atomic.Int64
	total  atomic.Int64
}

// Bytes is a meter whose unit is bytes.
func Bytes(w io.Writer, what string) *Meter { return newMeter(w, what, bytes) }

// Items is a meter that counts things of a kind, such as "samples".
func Items(w io.Writer, what, kind string) *Meter {
	return newMeter(w, what, func(n float64) string { return count(n) + " " + kind })
}

func newMeter(w io.Writer, what string, format func(float64) string) *Meter {
	m := &Meter{w: w, what: what, format: format, every: 5 * time.Second, start: time.Now()}
	if f, ok := w.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode()&os.ModeCharDevice != 0 {
			m.line, m.every = true, 200*time.Millisecond
		}
	}
	return m
}

// Add counts work as done.
func (m *Meter) Add(n int64) {
	if m != nil {
		m.done.Add(n)
	}
}

// Expect says how much more work there is, so that the time left can be told.
func (m *Meter) Expect(n int64) {
	if m != nil {
		m.total.Add(n)
	}
}

// Done is how much has been counted.
func (m *Meter) Done() int64 {
	if m == nil {
		return 0
	}
	return m.done.Load()
}

// Run writes lines until the context ends, and a last one then.
func (m *Meter) Run(ctx context.Context) {
	if m == nil {
		return
	}
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-ctx.Done():
			if m.line {
				fmt.Fprintf(m.w, "\r\x1b[K%s\n", m.String())
			} else if shown {
				fmt.Fprintln(m.w, m.String())
			}
			return
		case <-tick.C:
			shown = true
			if m.line {
				fmt.Fprintf(m.w, "\r\x1b[K%s", m.String())
			} else {
				fmt.Fprintln(m.w, m.String())
			}
		}
	}
}

// While runs f beside Run.
func (m *Meter) While(f func() error) error {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(ctx)
	}()
	err := f()
	stop()
	<-ended
	return err
}

// String is the line.
func (m *Meter) String() string {
	return describe(m.what, m.format, m.done.Load(), m.total.Load(), time.Since(m.start))
}

func describe(what string, format func(float64) string, done, total int64, took time.Duration) string {
	rate := float64(done) / max(took.Seconds(), 1e-3)
	line := fmt.Sprintf("%s: %s, %s/s", what, format(float64(done)), format(rate))
	if total <= 0 {
		return line
	}
	line = fmt.Sprintf("%s: %3.0f %%, %s of %s, %s/s", what, 100*float64(min(done, total))/float64(total), format(float64(done)), format(float64(total)), format(rate))
	if left := total - done; left > 0 && rate > 0 {
		line += fmt.Sprintf(", %s left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	return line
}

func bytes(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 1024 {
			return fmt.Sprintf("%.0f %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.2f TiB", n)
}

func count(n float64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%.0f", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.0f k", n/1e3)
	}
	return fmt.Sprintf("%.1f M", n/1e6)
}
