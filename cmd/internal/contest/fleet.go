package contest

import (
	"context"
	"fmt"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

const (
	fleetInterval = 10_000 // ms
	seed          = 1
)

// fleet is many devices that are all there from the beginning: what writing, keeping and asking them costs.
func fleet(ctx context.Context, b *bout) error {
	z := b.o.Sizes
	s := workload.Shape{Series: z.Series, Samples: z.Samples, Interval: fleetInterval, Seed: seed, Values: workload.Walk}
	s.Start = b.now - int64(s.Samples-1)*s.Interval
	batches, err := cut(s, 0, s.Series)
	if err != nil {
		return err
	}
	w, err := b.write(ctx, "ingest", s.Total(), func(l *bench.Loader) (bench.LoadReport, error) {
		return l.Write(ctx, batches, s.Samples, 1)
	})
	if err != nil {
		return err
	}
	if err := b.merge(ctx); err != nil {
		return err
	}
	apparent, allocated, err := b.disk(w.Samples)
	if err != nil {
		return err
	}
	if b.o.wants("ingest") {
		size := fmt.Sprintf("%s series × %d", group(int64(s.Series)), s.Samples)
		b.record(Figure{ID: "ingest.cpu", Name: "server CPU a million samples, " + size, Unit: Seconds, Goal: AtMostOf(0.65, VictoriaMetrics)}, w.Cost.CPUPerM)
		b.record(Figure{ID: "ingest.rss", Name: "resident after that", Unit: MiB}, mebi(w.Cost.RSS))
		b.record(Figure{ID: "ingest.peak", Name: "highest resident", Unit: MiB}, mebi(w.Cost.PeakRSS))
		b.record(Figure{ID: "ingest.disk", Name: "disk a sample after merging, all files, by length", Unit: Bytes, Goal: AtMost(0.6)}, apparent)
		b.record(Figure{ID: "ingest.allocated", Name: "the same, by allocated blocks", Unit: Bytes}, allocated)
	}
	if err := b.readBack(ctx, s, some(20, s.Series-10)); err != nil {
		return err
	}
	if b.o.wants("queries") {
		if err := b.askFleet(ctx, s); err != nil {
			return err
		}
	}
	if b.o.wants("start") {
		return b.starts(ctx, "fleet", "the fleet's data")
	}
	return nil
}

// goals and known differences of the fleet's questions, by their ids.
var (
	questionGoals = map[string]*Goal{
		"one": AtMostOf(1, VictoriaMetrics), "avg_over_time": AtMostOf(0.25, VictoriaMetrics), "max_over_time": AtMostOf(0.25, VictoriaMetrics),
		"avg_by": AtMostOf(0.8, VictoriaMetrics), "rate": AtMostOf(1, VictoriaMetrics),
		"label_values": AtMostOf(1, VictoriaMetrics), "series": AtMostOf(1, VictoriaMetrics),
	}
	questionUnlike = map[string]string{
		"rate": "MetricsQL's rate divides by the time between the samples that it takes, one before the window among them, and does not extrapolate",
	}
)

// ends are the ends of the ranges that are asked about: no two are equal, so that no answer is known already.
func ends(s workload.Shape) func(n int) int64 {
	return func(n int) int64 { return s.End() - int64(n)*1000 }
}

func (b *bout) askFleet(ctx context.Context, s workload.Shape) error {
	end := ends(s)
	for i, q := range bench.Questions(s.Series, s.End()) {
		err := b.ask(ctx, inquiry{
			figure: Figure{ID: "queries." + q.ID, Name: q.Name, Unit: Millis, Goal: questionGoals[q.ID]},
			unlike: questionUnlike[q.ID],
			at:     func(n int) bench.Question { return bench.Questions(s.Series, end(n))[i] },
		})
		if err != nil {
			return err
		}
	}
	if b.rival.Name != MiniTrue {
		return nil
	}
	return b.askAggregates(ctx, s)
}

// askAggregates asks POST /query, whose answers are held against what was written.
func (b *bout) askAggregates(ctx context.Context, s workload.Shape) error {
	end := ends(s)
	for i, q := range bench.Aggregates(s.End()) {
		check := func(n int, body []byte) error {
			mean, count := truth(s, []int{0}, end(n)-hour, end(n))
			return checkQuery(body, mean, count)
		}
		if i > 0 { // the whole history
			mean, count := truth(s, roomSensors(), s.Start, s.End())
			check = func(_ int, body []byte) error { return checkQuery(body, mean, count) }
		}
		err := b.ask(ctx, inquiry{
			figure: Figure{ID: fmt.Sprintf("queries.query_%d", i), Name: q.Name, Unit: Millis},
			at:     func(n int) bench.Question { return bench.Aggregates(end(n))[i] },
			check:  check,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const hour = 3_600_000 // ms

// roomSensors are the hundred temperature series of room 0.
func roomSensors() []int {
	numbers := make([]int, workload.RoomDevices)
	for i := range numbers {
		numbers[i] = i * len(workload.Metrics())
	}
	return numbers
}

// truth is the mean of what was written of these series within [from, to].
func truth(s workload.Shape, numbers []int, from, to int64) (mean float64, count int) {
	sum := 0.0
	for _, n := range numbers {
		w := s.Walker(n)
		for step := range s.Samples {
			v := w.Next()
			if t := s.Time(step); from <= t && t <= to {
				sum += v
				count++
			}
		}
	}
	return sum / float64(count), count
}

// starts measures how long the server takes until it is ready again, after it was stopped and after it was killed.
func (b *bout) starts(ctx context.Context, id, what string) error {
	stopped, err := b.restart(ctx, b.stop)
	if err != nil {
		return err
	}
	b.record(Figure{ID: "start." + id + ".stop", Name: "ready after a stop, " + what, Unit: Seconds, Goal: AtMost(2)}, stopped.Seconds())
	killed, err := b.restart(ctx, b.kill)
	if err != nil {
		return err
	}
	b.record(Figure{ID: "start." + id + ".kill", Name: "ready after kill -9, " + what, Unit: Seconds, Goal: AtMost(10)}, killed.Seconds())
	return nil
}
