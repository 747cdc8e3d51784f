package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// Source reads a time range from a server window by window: a window that fails is read again, since sending samples twice is harmless.
// Its positions are times.
type Source struct {
	Server Server
	Query  Query
	Window time.Duration
	Tries  int                         // of a window
	Log    func(string)                // is told what is tried again
	About  map[string]*series.Metadata // by metric family
	Sleep  func(context.Context, time.Duration) error
}

// Name is the same for a later end: what is new is read when the rest has been.
func (s Source) Name() string {
	return fmt.Sprintf("remote-read %s %s from %d", s.Server.Read, s.Query.Matchers, s.Query.MinTime)
}

// Read reads the windows from a position on, from old to new.
func (s Source) Read(ctx context.Context, from int64, emit func(*flow.Run) error, mark func(int64) error) error {
	if from == 0 {
		from = s.Query.MinTime
	}
	return flow.Windows(from, s.Query.MaxTime, s.Window.Milliseconds(), func(mint, maxt int64) error {
		if err := s.window(ctx, Query{mint, maxt, s.Query.Matchers}, emit); err != nil {
			return err
		}
		return mark(maxt + 1)
	})
}

func (s Source) window(ctx context.Context, q Query, emit func(*flow.Run) error) error {
	var sink error // what emit said: that is not the server's fault
	for try := 1; ; try++ {
		err := s.Server.Samples(ctx, q, func(r *flow.Run) error {
			r.About = Describe(s.About, r.Labels.Get("__name__"))
			sink = emit(r)
			return sink
		})
		if err == nil || sink != nil || ctx.Err() != nil || try >= s.Tries {
			return err
		}
		s.Log(err.Error())
		if err := s.Sleep(ctx, time.Duration(try)*time.Second); err != nil {
			return err
		}
	}
}

// Describe finds what is known of a metric: of its own name, or of the family whose part it is.
func Describe(about map[string]*series.Metadata, name string) *series.Metadata {
	if m := about[name]; m != nil {
		return m
	}
	for _, suffix := range []string{"_total", "_bucket", "_count", "_sum"} {
		if n := len(name) - len(suffix); n > 0 && name[n:] == suffix {
			return about[name[:n]]
		}
	}
	return nil
}
