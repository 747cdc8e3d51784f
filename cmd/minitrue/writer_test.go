package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// writer is a sensor whose reading number seq has the value seq and is seq milliseconds after base. It
// speaks MQTT by itself: paho's client reports messages as acknowledged that it merely sends again
// after it has lost a connection.
type writer struct {
	broker string
	device string
	pause  time.Duration // between two windows; 0: it publishes as fast as it can
	base   int64
	enough int   // so many acknowledged readings are its last; 0: it goes on until it is told to stop
	acked  []int // sequence numbers
	sent   int   // sequence numbers below were sent

	some atomic.Int64 // at least so many are acknowledged
	most atomic.Int64 // no more than so many were ever sent
}

func newWriter(n *node, device string) *writer {
	return &writer{broker: n.mqtt, device: device, base: time.Now().Add(-time.Hour).UnixMilli()}
}

const (
	window  = 32 // messages of a writer that wait for their PUBACK
	silence = 30 * time.Second
)

// run publishes until ctx ends or it has enough. What is lost with a connection is not sent again.
func (w *writer) run(ctx context.Context) {
	going := func() bool { return ctx.Err() == nil && (w.enough == 0 || w.some.Load() < int64(w.enough)) }
	for going() {
		conn, err := w.connect()
		if err != nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		for err == nil && going() {
			err = w.publish(conn)
			time.Sleep(w.pause)
		}
		_ = conn.Close()
	}
}

func (w *writer) connect() (net.Conn, error) {
	conn, err := net.Dial("tcp", w.broker)
	if err != nil {
		return nil, err
	}
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.CleanSession, hello.ClientIdentifier = "MQTT", 4, true, w.device
	if err = conn.SetDeadline(time.Now().Add(silence)); err == nil {
		if err = hello.Write(conn); err == nil {
			_, err = packets.ReadPacket(conn) // CONNACK
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// publish sends a window of messages and reads their PUBACKs.
func (w *writer) publish(conn net.Conn) error {
	first := w.sent
	w.sent += window
	w.most.Store(int64(w.sent))
	var out bytes.Buffer
	for i := range window {
		m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		m.Qos, m.MessageID, m.TopicName = 1, uint16(i+1), "iot/sensors/sequence"
		m.Payload = fmt.Appendf(nil, `{"device_id":%q,"metric_name":"sequence","timestamp":%d,"value":%d}`, w.device, w.base+int64(first+i), first+i)
		if err := m.Write(&out); err != nil {
			return err
		}
	}
	if err := conn.SetDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		return err
	}
	for range window {
		p, err := packets.ReadPacket(conn)
		if err != nil {
			return err
		}
		ack, ok := p.(*packets.PubackPacket)
		if !ok {
			return fmt.Errorf("%s is no PUBACK", p)
		}
		w.acked = append(w.acked, first+int(ack.MessageID)-1)
	}
	w.some.Store(int64(len(w.acked)))
	return nil
}

// watch asks again and again how many readings are there, by way of the statistics and by way of
// the samples. Neither may miss one that is acknowledged, or count one twice, while memtables are frozen
// and written and blocks are merged. No answer is a node that is being killed.
func (w *writer) watch(ctx context.Context, t *testing.T, url string) {
	answers := 0
	for ctx.Err() == nil {
		some := w.some.Load()
		a, err := ask(url, w.device, "sequence", "count")
		if most := w.most.Load(); err == nil && (a.Count < some || a.Count > most) {
			t.Errorf("%s: POST /query counts %d readings, between %d and %d are there", w.device, a.Count, some, most)
		}
		some = w.some.Load()
		got, err2 := scalar(url, fmt.Sprintf(`count_over_time(sequence{device_id=%q}[2h])`, w.device))
		if most := w.most.Load(); err2 == nil && (int64(got) < some || int64(got) > most) {
			t.Errorf("%s: PromQL counts %v readings, between %d and %d are there", w.device, got, some, most)
		}
		if err == nil && err2 == nil {
			answers++
		}
		time.Sleep(50 * time.Millisecond) // and leave the processor to those who write
	}
	if answers == 0 {
		t.Errorf("%s: nobody answered how many readings are there", w.device)
	}
}

// check compares what was acknowledged with what is there.
func (w *writer) check(t *testing.T, n *node) {
	t.Helper()
	var got samples
	proc.Until(t, "the samples of "+w.device+" are read", func() (err error) {
		got, err = read(t, n.url, time.UnixMilli(w.base-1000), time.Now(), "",
			labels.MustNewMatcher(labels.MatchEqual, "device_id", w.device))
		return err
	})
	name := labels.FromStrings(model.MetricNameLabel, "sequence", "device_id", w.device).String()
	if len(got) != 1 || got[name] == nil {
		t.Fatalf("%s has %d series", w.device, len(got))
	}
	t.Logf("%s: %d of %d messages acknowledged, %d read", w.device, len(w.acked), w.sent, len(got[name]))
	if len(w.acked) == 0 {
		t.Errorf("%s: nothing was acknowledged", w.device)
	}
	lost := 0
	for _, seq := range w.acked {
		if _, ok := got[name][w.base+int64(seq)]; !ok {
			if lost++; lost < 10 {
				t.Errorf("%s: message %d was acknowledged and is lost", w.device, seq)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%s: %d acknowledged messages are lost", w.device, lost)
	}
	for at, value := range got[name] {
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil || int64(v) != at-w.base || int(v) >= w.sent {
			t.Fatalf("%s: the sample at %d is %s", w.device, at, value)
		}
	}
}
