package bench

import (
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// recorder is a broker's hook that lets every client in and keeps what it publishes.
type recorder struct {
	broker.HookBase
	refuse bool

	mu       sync.Mutex // guards messages and bad
	messages map[message]int
	bad      []string
}

type message struct {
	Device string  `json:"device_id"`
	Metric string  `json:"metric_name"`
	Time   int64   `json:"timestamp"`
	Value  float64 `json:"value"`
}

func (*recorder) ID() string { return "recorder" }
func (*recorder) Provides(b byte) bool {
	return b == broker.OnConnectAuthenticate || b == broker.OnACLCheck || b == broker.OnPublish
}
func (r *recorder) OnConnectAuthenticate(*broker.Client, packets.Packet) bool { return !r.refuse }
func (*recorder) OnACLCheck(*broker.Client, string, bool) bool                { return true }

func (r *recorder) OnPublish(_ *broker.Client, p packets.Packet) (packets.Packet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var m message
	if err := json.Unmarshal(p.Payload, &m); err != nil || p.TopicName != "iot/sensors/temperature" || p.FixedHeader.Qos != 1 {
		r.bad = append(r.bad, p.TopicName+" "+string(p.Payload))
	}
	r.messages[m]++
	return p, nil
}

func startBroker(t *testing.T, r *recorder) string {
	t.Helper()
	r.messages = map[message]int{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := broker.New(nil)
	if err := b.AddHook(r, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.AddListener(listeners.NewNet("t", l)); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return l.Addr().String()
}

func TestPublish(t *testing.T) {
	r := &recorder{}
	addr := startBroker(t, r)
	start := time.UnixMilli(1_700_000_000_000)
	got, err := Publish(t.Context(), PublishOptions{Broker: "tcp://" + addr, Connections: 7, Inflight: 5, Messages: 3001, Start: start})
	if err != nil {
		t.Fatal(err)
	}
	if got.Messages != 3001 || got.MessagesPerSecond <= 0 || got.Latency.Median <= 0 {
		t.Errorf("%+v", got)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bad) > 0 {
		t.Fatalf("bad messages: %q", r.bad[:1])
	}
	if len(r.messages) != 3001 {
		t.Errorf("%d different messages came, want 3001", len(r.messages))
	}
	devices := map[string]int{}
	for m, n := range r.messages {
		if n != 1 || m.Metric != "temperature" || m.Value < 20 || m.Value >= 30 || m.Time < start.UnixMilli() || m.Time >= start.UnixMilli()+429 {
			t.Fatalf("%+v came %d times", m, n)
		}
		devices[m.Device]++
	}
	if len(devices) != 7 || devices["bench-0000"] != 429 || devices["bench-0006"] != 428 {
		t.Errorf("messages by device: %v", devices)
	}
}

func TestPublishFails(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		addr := startBroker(t, &recorder{refuse: true})
		_, err := Publish(t.Context(), PublishOptions{Broker: addr, Connections: 1, Messages: 1})
		if err == nil || !strings.Contains(err.Error(), "refuses") {
			t.Errorf("error %v", err)
		}
	})
	for name, answer := range map[string]string{
		"hang up":      "",
		"no CONNACK":   "\x40\x02\x00\x01",
		"strange id":   "\x20\x02\x00\x00\x40\x02\x00\x09",
		"no PUBACK":    "\x20\x02\x00\x00\x90\x02\x00\x01",
		"acked twice":  "\x20\x02\x00\x00\x40\x02\x00\x01\x40\x02\x00\x01",
		"hang up half": "\x20\x02\x00\x00\x40\x02",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				buf := make([]byte, 1000)
				for i := 0; len(answer) > 4*i; i++ {
					if _, err := c.Read(buf); err != nil {
						return
					}
					part := answer[4*i:]
					if i == 0 && len(part) > 4 {
						part = part[:4]
					}
					_, _ = c.Write([]byte(part))
					if i == 1 {
						return
					}
				}
			}()
			if _, err := Publish(t.Context(), PublishOptions{Broker: l.Addr().String(), Connections: 1, Inflight: 2, Messages: 10}); err == nil {
				t.Error("no error")
			}
		})
	}
	for _, o := range []PublishOptions{{Messages: -1}, {Inflight: 70000}, {Broker: "ws://127.0.0.1:1"}, {Broker: "127.0.0.1:1"}} {
		if _, err := Publish(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
