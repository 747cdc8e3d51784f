package contest

import (
	"context"
	"fmt"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// million is a great many series that are all new: what a series costs, and how long it takes to have them all
// again after a crash.
func million(ctx context.Context, b *bout) error {
	z := b.o.Sizes
	s := workload.Shape{Series: z.Million, Samples: z.MillionFirst + z.MillionMore, Interval: fleetInterval, Seed: seed, Values: workload.Walk}
	s.Start = b.now - int64(s.Samples-1)*s.Interval
	batches, err := cut(s, 0, s.Series)
	if err != nil {
		return err
	}
	write := func(name string, steps int) (written, error) {
		return b.write(ctx, name, int64(s.Series)*int64(steps), func(l *bench.Loader) (bench.LoadReport, error) {
			return l.Write(ctx, batches, steps, 1)
		})
	}
	w, err := write("new series", z.MillionFirst)
	if err != nil {
		return err
	}
	size := group(int64(s.Series))
	if b.o.wants("million") {
		b.record(Figure{ID: "million.cpu", Name: fmt.Sprintf("server CPU a million samples, %s new series × %d", size, z.MillionFirst), Unit: Seconds, Goal: AtMostOf(0.5, VictoriaMetrics)}, w.Cost.CPUPerM)
		b.record(Figure{ID: "million.rss", Name: fmt.Sprintf("resident with %s active series", size), Unit: MiB, Goal: AtMost(600)}, mebi(w.Cost.RSS))
		b.record(Figure{ID: "million.peak", Name: "highest resident", Unit: MiB}, mebi(w.Cost.PeakRSS))
	}
	acknowledged := w.Samples
	if z.MillionMore > 0 {
		more, err := write("more samples", z.MillionMore)
		if err != nil {
			return err
		}
		acknowledged += more.Samples
		if b.o.wants("million") {
			b.record(Figure{ID: "million.more", Name: fmt.Sprintf("highest resident while %d more samples of each come", z.MillionMore), Unit: MiB, Goal: AtMost(1.3 * 600)}, mebi(more.Cost.PeakRSS))
			b.record(Figure{ID: "million.rest", Name: "resident after them", Unit: MiB}, mebi(more.Cost.RSS))
		}
	}
	if !b.o.wants("start") {
		return b.readBack(ctx, s, some(20, s.Series-10))
	}
	return b.crash(ctx, s, size, acknowledged)
}

// crash kills the server right after a load, and counts what it still has of it.
func (b *bout) crash(ctx context.Context, s workload.Shape, size string, acknowledged int64) error {
	took, err := b.restart(ctx, b.kill)
	if err != nil {
		return err
	}
	b.record(Figure{ID: "start.million.kill", Name: fmt.Sprintf("ready after kill -9 right after %s series were written", size), Unit: Seconds, Goal: AtMost(10)}, took.Seconds())
	n, err := bench.Count(ctx, b.url, s)
	if err != nil {
		return err
	}
	b.record(Figure{ID: "start.million.lost", Name: "acknowledged samples that are lost by that", Unit: Count, Goal: AtMost(0)}, float64(acknowledged-n))
	if n != acknowledged && b.rival.Name == MiniTrue {
		b.report.disagree("million: after kill -9 %s has %d of %d acknowledged samples", b.rival.Title, n, acknowledged)
	}
	return nil
}
