package contest

import (
	"context"
	"fmt"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

const monthDays = 30

// month is the fleet once an hour for thirty days: many blocks of many series, which a start has to open.
func month(ctx context.Context, b *bout) error {
	s := workload.Shape{Series: b.o.Sizes.Series, Samples: monthDays * 24, Interval: time.Hour.Milliseconds(), Seed: seed, Values: workload.Walk}
	s.Start = b.now - int64(s.Samples-1)*s.Interval
	batches, err := cut(s, 0, s.Series)
	if err != nil {
		return err
	}
	if _, err := b.write(ctx, "thirty days", s.Total(), func(l *bench.Loader) (bench.LoadReport, error) {
		return l.Write(ctx, batches, s.Samples, 1)
	}); err != nil {
		return err
	}
	if err := b.merge(ctx); err != nil {
		return err
	}
	what := fmt.Sprintf("%d days of %s series", monthDays, group(int64(s.Series)))
	if err := b.starts(ctx, "month", what); err != nil {
		return err
	}
	memory, err := bench.Process{PID: b.program.pid()}.Memory()
	if err != nil {
		return err
	}
	b.record(Figure{ID: "start.month.rss", Name: "resident then, " + what, Unit: MiB}, mebi(memory.Resident))
	return b.readBack(ctx, s, some(20, s.Series-10))
}
