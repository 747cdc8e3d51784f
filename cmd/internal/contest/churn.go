package contest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

const (
	churnBatches  = 10 // one of which is replaced at a time
	churnInterval = time.Minute
	churnEvery    = 10 * time.Minute // a tenth of the series is replaced
	churnFlush    = 2 * time.Hour    // in which a node by its own clock writes its memory out
)

// churn replaces a tenth of the series every ten minutes of a simulated day. What a server does by its clock (MiniTrue
// writes its memory out every two hours) it is asked to do at the same simulated times.
func churn(ctx context.Context, b *bout) error {
	z := b.o.Sizes
	rounds := int(z.ChurnTime / churnEvery)
	steps := int(churnEvery / churnInterval)
	s := workload.Shape{Series: 1, Samples: rounds * steps, Interval: churnInterval.Milliseconds(), Seed: seed, Values: workload.Walk}
	s.Start = b.now - int64(s.Samples-1)*s.Interval
	fleet := newChurners(s, z.Churn)
	total := int64(s.Samples) * int64(z.Churn)
	var resident []int64
	_, err := b.write(ctx, "churn", total, func(l *bench.Loader) (sum bench.LoadReport, err error) {
		for round := range rounds {
			batches, err := fleet.next(round, round*steps)
			if err != nil {
				return sum, err
			}
			r, err := l.Write(ctx, batches, steps, 1)
			sum.Add(r)
			if err != nil {
				return sum, err
			}
			if (round+1)%int(churnFlush/churnEvery) == 0 || round == rounds-1 {
				rss, err := b.turn(ctx)
				if err != nil {
					return sum, err
				}
				resident = append(resident, rss)
				b.logf("at hour %.0f of %.0f: %s series seen, %.0f MiB resident", float64(round+1)/6, float64(rounds)/6, group(int64(fleet.seen)), mebi(rss))
			}
		}
		return sum, nil
	})
	if err != nil {
		return err
	}
	b.raw("resident every two hours", resident)
	memory, err := bench.Process{PID: b.program.pid()}.Memory()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s active series, a tenth replaced every 10 min for %s", group(int64(z.Churn)), span(z.ChurnTime))
	quarter := resident[max(0, (len(resident)+3)/4-1)]
	b.record(Figure{ID: "churn.rss", Name: "resident, " + what, Unit: MiB}, mebi(resident[len(resident)-1]))
	b.record(Figure{ID: "churn.peak", Name: "highest resident", Unit: MiB}, mebi(memory.Peak))
	b.record(Figure{ID: "churn.growth", Name: "resident at the end over that at a quarter of the time", Unit: Times, Goal: AtMost(1.3)},
		float64(resident[len(resident)-1])/float64(quarter))
	return nil
}

// turn lets two simulated hours have passed for the server, and returns its resident memory.
func (b *bout) turn(ctx context.Context) (int64, error) {
	if b.rival.Name == MiniTrue {
		if err := call(ctx, "POST", b.url+"/api/v1/admin/tsdb/flush"); err != nil {
			b.report.note("churn: MiniTrue was not flushed: %v", err)
		}
	}
	memory, err := bench.Process{PID: b.program.pid()}.Memory()
	return memory.Resident, err
}

// churners are the batches of which one is replaced at a time.
type churners struct {
	shape workload.Shape
	each  [churnBatches][]*workload.Batch
	size  int // series of a tenth
	seen  int // series so far
}

func newChurners(s workload.Shape, active int) *churners {
	return &churners{shape: s, size: active / churnBatches}
}

// next returns the batches of a round, which begins at a step.
func (c *churners) next(round, step int) ([]*workload.Batch, error) {
	for i := range c.each {
		if round > 0 && i != round%churnBatches {
			continue
		}
		c.shape.Series = c.seen + c.size
		batches, err := cut(c.shape, c.seen, c.shape.Series)
		if err != nil {
			return nil, err
		}
		for _, b := range batches {
			b.Begin(step)
		}
		c.each[i], c.seen = batches, c.shape.Series
	}
	return slices.Concat(c.each[:]...), nil
}
