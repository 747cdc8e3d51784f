package mqtt

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

const topicT = "iot/sensors/t/d"

// wantSamples waits until these samples are stored, in any order: batches are committed side by side.
func wantSamples(t *testing.T, m *memory, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, func() string {
		got := m.list()
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Sprintf("stored %v, want %v", got, want)
		}
		return ""
	})
}

func TestNoAckBeforeCommit(t *testing.T) {
	for _, r := range []struct{ qos, ack byte }{{1, 0x40}, {2, 0x50}} {
		t.Run(fmt.Sprintf("qos=%d", r.qos), func(t *testing.T) {
			gate := make(chan struct{})
			m := &memory{block: gate}
			b := startBroker(t, m, BrokerOptions{})
			p := connect(t, b.Addr().String(), "c", 4, 2)
			p.publish(r.qos, 7, topicT, `{"value":1,"timestamp":5}`)
			p.publish(r.qos, 8, topicT, `{"value":2,"timestamp":6}`)
			p.wantPing()
			if got := m.list(); len(got) > 0 {
				t.Fatalf("stored %v", got)
			}
			close(gate)
			p.want(r.ack, 7)
			p.want(r.ack, 8)
			wantSamples(t, m, "t/d@5000=1", "t/d@6000=2")
		})
	}
}

func TestFailedCommitIsRetried(t *testing.T) {
	m := &memory{fail: series.ErrUnavailable}
	b := startBroker(t, m, BrokerOptions{})
	p := connect(t, b.Addr().String(), "c", 4, 2)
	p.publish(1, 7, topicT, `{"value":1,"timestamp":5}`)
	p.wantPing()
	m.set(func() { m.fail = nil })
	p.want(0x40, 7)
	wantSamples(t, m, "t/d@5000=1")
}

// A message that cannot be stored for long is not acknowledged: its sender is cut off and sends again.
func TestFailedCommitCutsOff(t *testing.T) {
	for _, version := range []byte{4, 5} {
		m := &memory{fail: series.ErrOverload}
		b := startBroker(t, m, BrokerOptions{Tuning: Tuning{RetryFor: time.Millisecond}})
		p := connect(t, b.Addr().String(), "c", version, 0)
		p.send(publishPacket(version, 1, 7, topicT, `{"value":1,"timestamp":5}`))
		p.send(publishPacket(version, 2, 8, topicT, `{"value":2,"timestamp":6}`))
		p.wantEnd()
		eventually(t, func() string { // a session of version 5 has ended, so that what is stored of it now would count twice
			b.collect.mu.Lock()
			defer b.collect.mu.Unlock()
			if n := len(b.all()); n > 0 || len(b.collect.open.msgs) > 0 || b.collect.turn < b.collect.taken {
				return fmt.Sprintf("%d connections, %d messages to commit, %d batches of %d committed", n, len(b.collect.open.msgs), b.collect.turn, b.collect.taken)
			}
			return ""
		})
		m.set(func() { m.fail = nil })
		p = connect(t, b.Addr().String(), "c", version, 0)
		p.send(publishPacket(version, 1, 7, topicT, `{"value":1,"timestamp":5}`))
		p.want(0x40, 7)
		p.send(publishPacket(version, 2, 8, topicT, `{"value":2,"timestamp":6}`))
		p.want(0x50, 8)
		wantSamples(t, m, "t/d@5000=1", "t/d@6000=2")
	}
}

// A message of quality 2 is stored once, however often it is sent before its release.
func TestExactlyOnce(t *testing.T) {
	m := &memory{}
	b := startBroker(t, m, BrokerOptions{})
	dup := publishPacket(4, 2, 3, topicT, `{"value":1,"timestamp":5}`)
	dup[0] |= 0x08
	p := connect(t, b.Addr().String(), "c", 4, 0)
	p.publish(2, 3, topicT, `{"value":1,"timestamp":5}`)
	p.want(0x50, 3)
	p.send(dup)
	p.want(0x50, 3)
	p.Close()
	p = connect(t, b.Addr().String(), "c", 4, 0)
	p.send(dup)
	p.want(0x50, 3)
	p.rel(3)
	p.want(0x70, 3)
	p.rel(3)
	p.want(0x70, 3)
	p.publish(2, 3, topicT, `{"value":1,"timestamp":5}`)
	p.want(0x50, 3)
	// A client that has lost its state uses an unreleased id for another message, which counts.
	p.publish(2, 3, topicT, `{"value":9,"timestamp":9}`)
	p.want(0x50, 3)
	wantSamples(t, m, "t/d@5000=1", "t/d@5000=1", "t/d@9000=9")
}

// While a message waits for its commit, its client may come back on another
// connection, which then gets the answer.
func TestTakeOverWhileCommitting(t *testing.T) {
	gate := make(chan struct{})
	m := &memory{block: gate}
	b := startBroker(t, m, BrokerOptions{})
	p := connect(t, b.Addr().String(), "c", 4, 0)
	p.publish(2, 3, topicT, `{"value":1,"timestamp":5}`)
	p.wantPing()
	q := connect(t, b.Addr().String(), "c", 4, 0)
	p.wantEnd()
	q.publish(2, 3, topicT, `{"value":1,"timestamp":5}`)
	q.wantPing()
	close(gate)
	q.want(0x50, 3)
	wantSamples(t, m, "t/d@5000=1")
}

// When no batch has room, connections are not read, and nothing is lost.
func TestBackpressure(t *testing.T) {
	gate := make(chan struct{})
	m := &memory{block: gate}
	b := startBroker(t, m, BrokerOptions{Tuning: Tuning{MaxMessages: 10, InFlight: 2}})
	p := connect(t, b.Addr().String(), "c", 4, 2)
	const n = 2000
	go func() {
		for i := range n {
			if _, err := p.Write(publishPacket(4, 1, uint16(i+1), topicT, fmt.Sprintf(`{"value":%d,"timestamp":%d}`, i, i))); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	eventually(t, func() string {
		b.collect.mu.Lock()
		defer b.collect.mu.Unlock()
		if !b.collect.open.full(b.collect.o) {
			return "the open batch does not fill"
		}
		if n := len(b.collect.open.msgs); n > 10 {
			return fmt.Sprintf("%d messages in a batch", n)
		}
		return ""
	})
	close(gate)
	for i := range n {
		p.want(0x40, uint16(i+1))
	}
	if got := len(m.list()); got != n {
		t.Fatalf("%d samples stored", got)
	}
}

func TestShutdownDrains(t *testing.T) {
	gate := make(chan struct{})
	m := &memory{block: gate}
	b := NewBroker(m, &letters{}, BrokerOptions{Listen: "127.0.0.1:0"})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	p := connect(t, b.Addr().String(), "c", 5, 2)
	p.send(publishPacket(5, 1, 7, topicT, `1`))
	p.wantPing()
	cancel()
	eventually(t, func() string {
		b.collect.mu.Lock()
		defer b.collect.mu.Unlock()
		if !b.collect.closed {
			return "not shutting down"
		}
		return ""
	})
	close(gate)
	p.want(0x40, 7)
	p.wantEnd()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(m.list()) != 1 {
		t.Fatal(m.list())
	}
}

func TestShutdownGivesUpOnAStoreThatHangs(t *testing.T) {
	m := &memory{block: make(chan struct{})}
	b := NewBroker(m, &letters{}, BrokerOptions{Listen: "127.0.0.1:0", Tuning: Tuning{DrainFor: 10 * time.Millisecond}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	p := connect(t, b.Addr().String(), "c", 4, 2)
	p.publish(1, 7, topicT, `1`)
	p.wantPing()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	p.wantEnd()
}

// picky rejects what the storage may reject.
type picky struct{}

func (picky) Append(_ context.Context, b *series.Batch) error {
	for i := range b.Series {
		if b.Samples[b.Series[i].First].V < 0 {
			b.Reject(i, "too_cold", fmt.Errorf("%v is too cold", b.Samples[b.Series[i].First].V))
		}
	}
	return nil
}

func TestBadPayloadsAreAcknowledgedAndPutAside(t *testing.T) {
	b, l := startBrokerLetters(t, picky{}, BrokerOptions{})
	p := connect(t, b.Addr().String(), "c", 4, 2)
	for i, s := range []string{`{"value":`, `[{"value":1},{}]`, `-1`} {
		p.publish(1, uint16(i+1), topicT, s)
		p.want(0x40, uint16(i+1))
	}
	p.publish(1, 9, "iot/sensors/a/b/c", `1`)
	p.want(0x40, 9)
	want := []string{`json: {"value":`, `value_missing: {}`, `too_cold: -1`, `topic: 1`}
	if got := l.list(); !slices.Equal(got, want) {
		t.Fatalf("put aside %q, want %q", got, want)
	}
}
