package contest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
	"github.com/minitrue/minitrue/shard"
)

// askCluster asks three nodes: for what others have, where each has a third of the data; and for what it has itself, where all have all
// and none knows by itself that it misses nothing.
func askCluster(ctx context.Context, t *trial) error {
	for _, copies := range []int{1, 3} {
		if err := t.begin(ctx, 3, fmt.Sprintf("--replication-factor=%d", copies)); err != nil {
			return err
		}
		if err := t.askCopies(ctx, copies); err != nil {
			return err
		}
		if err := t.end(); err != nil {
			return err
		}
	}
	return nil
}

// askCopies writes 100 sensors for a week to a cluster that keeps so many copies, and asks its first node.
func (t *trial) askCopies(ctx context.Context, copies int) error {
	s := workload.Shape{Series: 1000, Samples: int(t.o.Sizes.Week / time.Second), Interval: 1000, Seed: seed, Values: workload.Walk}
	s.Start = time.Now().Truncate(time.Second).UnixMilli() - int64(s.Samples)*s.Interval // POST /query takes whole seconds
	sensors := roomSensors()
	batch, err := s.BatchOf(workload.V1, sensors)
	if err != nil {
		return err
	}
	if _, err := t.write(ctx, []*workload.Batch{batch}, s.Samples, perRequest/len(sensors)); err != nil {
		return err
	}
	if err := t.merge(ctx); err != nil {
		return err
	}
	where := fmt.Sprintf("three nodes, %s", counted(copies, "copy", "copies"))
	if copies == 1 {
		if err := t.askStranger(ctx, s, sensors, where); err != nil {
			return err
		}
	}
	sums := newSums(s, sensors)
	room := fmt.Sprintf("temperature{room=%q}", workload.Room(0))
	figure := Figure{ID: fmt.Sprintf("cluster.week.%d", copies), Name: fmt.Sprintf("POST /query, average over 100 sensors for %s, %s", span(t.o.Sizes.Week), where), Unit: Millis, Goal: AtMost(30)}
	err = t.ask(ctx, figure, t.nodes[0], func(n int) (bench.Question, func([]byte) error) {
		w := window{s.Start - 1000, s.End() - int64(n)*1000} // the end moves, so that no answer is known already
		q := bench.Question{Name: figure.Name, Path: "/query", Body: map[string]any{"matchers": room, "operation": "avg", "start_time": w.from/1000 + 1, "end_time": w.to / 1000}}
		return q, func(body []byte) error {
			mean, count := sums.mean(w)
			return checkQuery(body, mean, count)
		}
	})
	if err != nil {
		return err
	}
	figure = Figure{ID: figure.ID + ".promql", Name: "the same by PromQL, " + where, Unit: Millis}
	return t.ask(ctx, figure, t.nodes[0], func(n int) (bench.Question, func([]byte) error) {
		w := window{s.Start - 1000, s.End() - int64(n)*1000}
		q := bench.Instant(figure.Name, fmt.Sprintf("avg(avg_over_time(%s[%ds]))", room, (w.to-w.from)/1000), w.to)
		return q, func(body []byte) error { _, err := parseAnswer(body); return err }
	})
}

// askStranger asks nodes for sensors that others own.
func (t *trial) askStranger(ctx context.Context, s workload.Shape, sensors []int, where string) error {
	st, err := t.nodes[0].standing(ctx, "")
	if err != nil {
		return err
	}
	var nodes []shard.Node
	for _, n := range st.Nodes {
		nodes = append(nodes, shard.Node{ID: n.ID, State: shard.Active})
	}
	ring, err := shard.NewRing(nodes, 1)
	if err != nil {
		return err
	}
	self := ring.Index(st.Self)
	var foreign []int
	for _, i := range sensors {
		if owners := ring.Owners(shard.Partition(workload.Labels(i), "device_id")); !slices.Contains(owners, uint8(self)) {
			foreign = append(foreign, i)
		}
	}
	if len(foreign) == 0 {
		return fmt.Errorf("the first node owns all %d sensors", len(sensors))
	}
	figure := Figure{ID: "cluster.one", Name: "POST /query, one sensor, 1 h, through a node that does not own it, " + where, Unit: Millis, Goal: AtMost(5)}
	return t.ask(ctx, figure, t.nodes[0], func(n int) (bench.Question, func([]byte) error) {
		i := foreign[n%len(foreign)]
		to := s.End() - int64(n)*1000
		from := to - time.Hour.Milliseconds() + 1000
		q := bench.Question{Name: figure.Name, Path: "/query", Body: map[string]any{"device_id": workload.Device(i), "metric_name": "temperature", "operation": "avg",
			"start_time": from / 1000, "end_time": to / 1000}}
		return q, func(body []byte) error {
			mean, count := truth(s, []int{i}, from, to)
			return checkQuery(body, mean, count)
		}
	})
}

// ask asks a node again and again, and holds the first answers against what was written.
func (t *trial) ask(ctx context.Context, f Figure, m *member, at func(n int) (bench.Question, func([]byte) error)) error {
	client := bench.NewClient(m.url)
	defer client.Close()
	var took []time.Duration
	for n, began := 0, time.Now(); n < compared || !enough(len(took), time.Since(began), t.o.Sizes.Patience); n++ {
		q, check := at(n)
		body, d, err := client.Ask(ctx, q)
		if err != nil {
			return err
		}
		if n < compared {
			if err := check(body); err != nil {
				t.report.disagree("%s: %v", f.Name, err)
			}
			continue
		}
		took = append(took, d)
	}
	latency := bench.Summarize(took)
	t.raw(f.ID, map[string]any{"times": len(took), "latency": latency})
	t.record(f, latency.Median)
	t.report.tail(f.ID, MiniTrue, latency.P99)
	t.logf("%s: median %.2f ms, p99 %.2f ms of %d", f.Name, latency.Median, latency.P99, len(took))
	return nil
}
