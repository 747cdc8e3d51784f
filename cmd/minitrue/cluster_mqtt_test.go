package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// metric is the sum of a node's metric over the series that have these labels, name=value.
func (n *node) metric(name string, labels ...string) (sum float64, err error) {
	body, err := fetch(n.url + "/metrics")
	if err != nil {
		return 0, err
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		return 0, err
	}
	if families[name] == nil {
		return 0, fmt.Errorf("%s has no metric %s", n.url, name)
	}
	for _, m := range families[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range m.GetLabel() {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		fits := true
		for _, l := range labels {
			fits = fits && has[l]
		}
		if fits {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum, nil
}

// accepted is how many samples came through the MQTT doors of these nodes since they started.
func accepted(t *testing.T, nodes []*node) (each []float64, sum float64) {
	t.Helper()
	for _, n := range nodes {
		got, err := n.metric("minitrue_ingest_samples_total", "door=mqtt")
		if err != nil {
			t.Fatal(err)
		}
		each, sum = append(each, got), sum+got
	}
	return each, sum
}

// seriesKept is how many series a node itself keeps.
func (n *node) seriesKept() (int, error) {
	body, err := fetch(n.url + "/api/v1/status/tsdb")
	if err != nil {
		return 0, err
	}
	var a struct {
		Data struct {
			HeadStats struct{ NumSeries int }
		}
	}
	return a.Data.HeadStats.NumSeries, json.Unmarshal(body, &a)
}

// untilKept waits until so many copies of series are kept.
func untilKept(t *testing.T, nodes []*node, copies int) {
	t.Helper()
	proc.Until(t, fmt.Sprintf("%d copies of series are kept", copies), func() error {
		sum := 0
		for _, n := range nodes {
			kept, err := n.seriesKept()
			if err != nil {
				return err
			}
			sum += kept
		}
		if sum != copies {
			return fmt.Errorf("there are %d", sum)
		}
		return nil
	})
}

// The broker of each node takes any sensor, also one that moves from node to node: each message is stored once, and each series on as many
// nodes as it should be.
func TestClusterBrokers(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3, "--replication-factor=2")
	const devices = 20
	roaming := newWriter(nodes[0], "roaming")
	for i, n := range nodes {
		roaming.broker = n.mqtt
		publishFor(t, roaming, (i+1)*5*window)
		c := sensor(t, n.mqtt, fmt.Sprintf("gateway-%d", i))
		for d := range devices {
			payload := fmt.Sprintf(`{"timestamp":%d,"value":%d}`, time.Now().Add(-time.Minute).UnixMilli(), d)
			if err := send(c, fmt.Sprintf("iot/sensors/level/tank-%d-%d", i, d), payload); err != nil {
				t.Fatal(err)
			}
		}
	}
	if each, sum := accepted(t, nodes); sum != float64(len(roaming.acked)+3*devices) {
		t.Errorf("%d messages were acknowledged, and the nodes accepted %v", len(roaming.acked)+3*devices, each)
	}
	for _, n := range nodes {
		roaming.check(t, n)
		untilCount(t, n, "roaming", "sequence", int64(len(roaming.acked)))
		untilScalar(t, n.url, `sum(count_over_time(level[1h]))`, func(v float64) bool { return v == 3*devices })
	}
	untilKept(t, nodes, 2*(3*devices+1))
}

// outside makes a sensor that publishes through a broker outside the cluster.
func outside(broker, device string, pause time.Duration) *writer {
	return &writer{broker: broker, device: device, base: time.Now().Add(-time.Hour).UnixMilli(), pause: pause}
}

// untilStored waits until every node counts exactly what was published.
func untilStored(t *testing.T, nodes []*node, writers []*writer) {
	t.Helper()
	for _, w := range writers {
		if len(w.acked) != w.sent {
			t.Errorf("%s: the broker acknowledged %d messages of %d", w.device, len(w.acked), w.sent)
		}
		untilCounted(t, nodes, w.device, len(w.acked))
		for _, n := range nodes {
			untilCount(t, n, w.device, "sequence", int64(len(w.acked)))
			w.check(t, n)
		}
	}
}

// All nodes read one broker outside, through one shared subscription: each message is stored by one of them. When nodes are killed, or
// stopped, and started again in the middle, nothing that the broker acknowledged is missing, nothing is there twice, and all have the same.
func TestClusterSharesABroker(t *testing.T) {
	t.Parallel()
	broker := mosquitto(t)
	nodes, _ := startCluster(t, 3, "--broker=tcp://"+broker)
	untilSubscribed := func(n *node) {
		t.Helper()
		proc.Until(t, n.url+" has subscribed", func() error {
			if !strings.Contains(n.Output(), "filter=$share/minitrue/iot/sensors/#") {
				return fmt.Errorf("it has not")
			}
			return nil
		})
	}
	for _, n := range nodes {
		untilSubscribed(n)
	}
	quiet := outside(broker, "quiet", 0)
	publishFor(t, quiet, 30*window)
	untilStored(t, nodes, []*writer{quiet})
	each, sum := accepted(t, nodes)
	if sum != float64(len(quiet.acked)) || each[0] == 0 || each[1] == 0 || each[2] == 0 {
		t.Errorf("%d messages were published, and the nodes accepted %v of them", len(quiet.acked), each)
	}

	var writers []*writer
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer wg.Wait()
	defer stop()
	for i := range 2 {
		w := outside(broker, fmt.Sprintf("busy-%d", i), 20*time.Millisecond)
		writers = append(writers, w)
		wg.Go(func() { w.run(ctx) })
	}
	more := func(n int64) { // until so many messages more are acknowledged
		t.Helper()
		before := writers[0].some.Load()
		proc.Until(t, fmt.Sprintf("%d messages more are published", n), func() error {
			if got := writers[0].some.Load() - before; got < n {
				return fmt.Errorf("%d are", got)
			}
			return nil
		})
	}
	for i, n := range nodes {
		more(20 * window)
		n.Kill(t)
		more(40 * window)
		n.start(t)
		untilActive(t, nodes, 3)
		untilSubscribed(n)
		more(20 * window)
		if i == 1 {
			if code := n.Stop(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
			more(20 * window)
			n.start(t)
			untilActive(t, nodes, 3)
		}
	}
	stop()
	wg.Wait()
	untilStored(t, nodes, append(writers, quiet))
	untilEqual(t, nodes)
	untilKept(t, nodes, 3*3)
}
