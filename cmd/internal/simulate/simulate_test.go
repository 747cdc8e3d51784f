package simulate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/minitrue/minitrue/cmd/internal/simulate"
)

type reading struct {
	Topic  string  `json:"-"`
	Device string  `json:"device_id"`
	Metric string  `json:"metric_name"`
	Time   int64   `json:"timestamp"`
	Value  float64 `json:"value"`
}

// allow lets every client do everything.
type allow struct{ broker.HookBase }

func (*allow) ID() string { return "allow" }
func (*allow) Provides(b byte) bool {
	return b == broker.OnConnectAuthenticate || b == broker.OnACLCheck
}
func (*allow) OnConnectAuthenticate(*broker.Client, packets.Packet) bool { return true }
func (*allow) OnACLCheck(*broker.Client, string, bool) bool              { return true }

// collect runs a broker and the sensors until n readings have come.
func collect(t *testing.T, o simulate.Options, n int) []reading {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := broker.New(&broker.Options{InlineClient: true})
	if err := b.AddHook(new(allow), nil); err != nil {
		t.Fatal(err)
	}
	if err := b.AddListener(listeners.NewNet("t", l)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards got
	var got []reading
	done := make(chan struct{})
	var bad error
	if err := b.Subscribe("iot/sensors/#", 1, func(_ *broker.Client, _ packets.Subscription, p packets.Packet) {
		mu.Lock()
		defer mu.Unlock()
		r := reading{Topic: p.TopicName}
		if err := json.Unmarshal(p.Payload, &r); err != nil {
			bad = fmt.Errorf("%s: %w", p.Payload, err)
		}
		if got = append(got, r); len(got) == n {
			close(done)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	defer b.Close()

	o.Broker = "tcp://" + l.Addr().String()
	s, err := simulate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- s.Run(ctx) }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("the readings did not come")
	}
	cancel()
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if o.QoS > 0 && s.Sent() == 0 {
		t.Error("nothing was counted as sent")
	}
	mu.Lock()
	defer mu.Unlock()
	if bad != nil {
		t.Fatal(bad)
	}
	return got[:n]
}

func TestReadings(t *testing.T) {
	for qos := range byte(3) {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			got := collect(t, simulate.Options{Interval: 20 * time.Millisecond, QoS: qos, Seed: 1}, 45)
			sensors := map[string]int{}
			for _, r := range got {
				if r.Topic != "iot/sensors/"+r.Metric {
					t.Errorf("metric %s on topic %s", r.Metric, r.Topic)
				}
				if d := time.Since(time.UnixMilli(r.Time)); d < -time.Minute || d > time.Minute {
					t.Errorf("time %d is %s ago", r.Time, d)
				}
				if tenths := r.Value * 10; math.Abs(tenths-math.Round(tenths)) > 1e-6 {
					t.Errorf("%s has more than one decimal: %v", r.Metric, r.Value)
				}
				sensors[r.Device+"/"+r.Metric]++
			}
			if len(sensors) != 9 {
				t.Errorf("readings of %v, want 3 devices with 3 metrics each", sensors)
			}
		})
	}
}

func TestEqualSeedsMakeEqualWalks(t *testing.T) {
	o := simulate.Options{Interval: 10 * time.Millisecond, QoS: 1, Seed: 42, Devices: 2, Metrics: []string{"temperature", "co2"}}
	a, b := collect(t, o, 40), collect(t, o, 40)
	values := func(rs []reading) map[string][]float64 {
		m := map[string][]float64{}
		for _, r := range rs {
			m[r.Device+r.Metric] = append(m[r.Device+r.Metric], r.Value)
		}
		return m
	}
	if va, vb := values(a), values(b); fmt.Sprint(va) != fmt.Sprint(vb) {
		t.Errorf("%v\n%v", va, vb)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []simulate.Options{{QoS: 3}, {Devices: -1}, {Metrics: []string{"a/b"}}, {Metrics: []string{""}}} {
		if _, err := simulate.New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// Without a broker the sensors wait, and stop when they are told to.
func TestStopWithoutBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s, err := simulate.New(simulate.Options{Broker: "tcp://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- s.Run(ctx) }()
	cancel()
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
}

func ExampleNew() {
	s, err := simulate.New(simulate.Options{Broker: "tcp://127.0.0.1:1883", Devices: 5, QoS: 1})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop() // a program would let them run for a while
	fmt.Println(s.Run(ctx), s.Sent())
	// Output: <nil> 0
}
