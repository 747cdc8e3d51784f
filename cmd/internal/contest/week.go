package contest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

const hourSteps = 3600

// week is a hundred sensors at 1 Hz for a long time, written as fast as it goes: what a question about all of it costs.
func week(ctx context.Context, b *bout) error {
	s := workload.Shape{Series: 1000, Samples: int(b.o.Sizes.Week / time.Second), Interval: 1000, Seed: seed, Values: workload.Walk}
	s.Start = b.now - int64(s.Samples-1)*s.Interval
	const lanes = 4 // of 25 sensors each
	var batches []*workload.Batch
	for i, sensors := 0, roomSensors(); i < lanes; i++ {
		batch, err := s.BatchOf(workload.V1, sensors[i*len(sensors)/lanes:(i+1)*len(sensors)/lanes])
		if err != nil {
			return err
		}
		batches = append(batches, batch)
	}
	total := int64(s.Samples) * workload.RoomDevices
	w, err := b.write(ctx, "backfill", total, func(l *bench.Loader) (sum bench.LoadReport, err error) {
		// An hour at a time, so that no connection gets further ahead than Prometheus's window for what is out of order.
		for step := 0; step < s.Samples && err == nil; step += hourSteps {
			var r bench.LoadReport
			r, err = l.Write(ctx, batches, min(hourSteps, s.Samples-step), perRequest/batches[0].Len())
			sum.Add(r)
		}
		return sum, err
	})
	if err != nil {
		return err
	}
	if err := b.merge(ctx); err != nil {
		return err
	}
	apparent, _, err := b.disk(w.Samples)
	if err != nil {
		return err
	}
	if b.o.wants("week") {
		b.record(Figure{ID: "week.cpu", Name: fmt.Sprintf("server CPU a million samples, backfill of 100 sensors at 1 Hz for %s", span(b.o.Sizes.Week)), Unit: Seconds}, w.Cost.CPUPerM)
		b.record(Figure{ID: "week.disk", Name: "disk a sample after merging", Unit: Bytes}, apparent)
		if err := b.readBack(ctx, s, []int{0, 330, 990}); err != nil {
			return err
		}
		if err := b.askWeek(ctx, s); err != nil {
			return err
		}
	}
	if b.o.wants("start") {
		return b.starts(ctx, "week", fmt.Sprintf("%s samples of %s", group(w.Samples), span(b.o.Sizes.Week)))
	}
	return nil
}

func span(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	}
	return d.String()
}

// window is a range of time, left open, in ms.
type window struct{ from, to int64 }

func (b *bout) askWeek(ctx context.Context, s workload.Shape) error {
	sums := newSums(s, roomSensors())
	samples := int64(s.Samples)
	all := func(n int) window { // the end moves, so that no answer is known already
		return window{s.Start - 1000, s.End() - int64(n)*1000}
	}
	random := func(n int) window {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		length := samples/8 + r.Int64N(samples*3/4)
		end := length + r.Int64N(samples-length)
		return window{s.Time(int(end-length)) - 1000, s.Time(int(end)) - 1000}
	}
	room := fmt.Sprintf("temperature{room=%q}", workload.Room(0))
	for _, row := range []struct {
		id, name string
		at       func(n int) window
	}{{"all", "average over all of it", all}, {"random", "average over a random window", random}} {
		err := b.ask(ctx, inquiry{
			figure: Figure{ID: "week." + row.id, Name: row.name + ", PromQL", Unit: Millis, Goal: AtMost(10)},
			at: func(n int) bench.Question {
				w := row.at(n)
				return bench.Instant(row.name, fmt.Sprintf("avg(avg_over_time(%s[%ds]))", room, (w.to-w.from)/1000), w.to)
			},
		})
		if err != nil {
			return err
		}
		if b.rival.Name != MiniTrue {
			continue
		}
		err = b.ask(ctx, inquiry{
			figure: Figure{ID: "week." + row.id + ".query", Name: row.name + ", POST /query", Unit: Millis, Goal: AtMost(10)},
			at: func(n int) bench.Question {
				w := row.at(n)
				return bench.Question{Name: row.name, Path: "/query", Body: map[string]any{"matchers": room, "operation": "avg",
					"start_time": w.from/1000 + 1, "end_time": w.to / 1000}}
			},
			check: func(n int, body []byte) error {
				mean, count := sums.mean(row.at(n))
				return checkQuery(body, mean, count)
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sums are the running sums of all series of a workload by step.
type sums struct {
	shape  workload.Shape
	series int
	until  []float64 // the sum of all before a step
}

func newSums(s workload.Shape, numbers []int) sums {
	until := make([]float64, s.Samples+1)
	for _, n := range numbers {
		w := s.Walker(n)
		for i := range s.Samples {
			until[i+1] += w.Next()
		}
	}
	for i := range s.Samples {
		until[i+1] += until[i]
	}
	return sums{s, len(numbers), until}
}

func (s sums) mean(w window) (mean float64, count int) {
	step := func(t int64) int { return int((t-s.shape.Start)/s.shape.Interval) + 1 } // behind t
	first := 0
	if w.from >= s.shape.Start {
		first = step(w.from)
	}
	last := step(w.to)
	count = (last - first) * s.series
	return (s.until[last] - s.until[first]) / float64(count), count
}
