package mqtt

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A client of MQTT 3.1.1 with a clean start has no session that the next client of its name could go on with: what that one sends is new.
func TestNothingIsLeftOfACleanSession(t *testing.T) {
	m := &memory{}
	b := startBroker(t, m, BrokerOptions{Now: func() time.Time { return time.UnixMilli(5) }})
	old := connect(t, b.Addr().String(), "c", 4, 2)
	old.publish(2, 1, "iot/sensors/a/d", `7`)
	old.want(0x50, 1)
	next := dial(t, b.Addr().String())
	next.send(connectPacket("c", 4, 0, 60))
	if k, body := next.packet(); k != 0x20 || body[0] != 0 {
		t.Fatalf("got packet %x %x, want a CONNACK without a session", k, body)
	}
	next.publish(2, 1, "iot/sensors/a/d", `7`)
	next.want(0x50, 1)
	wantSamples(t, m, "a/d@5=7", "a/d@5=7")
}

// What waits for a session that is away, or does not acknowledge, is bounded in bytes.
func TestMessagesForASessionThatIsAway(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{})
	s := connect(t, b.Addr().String(), "away", 4, 0)
	s.send(packet(0x82, append(utf8String([]byte{0, 1}, "x/#"), 1)))
	s.want(0x90, 1)
	s.send([]byte{0xe0, 0})
	s.wantEnd()
	p := connect(t, b.Addr().String(), "p", 4, 2)
	before, payload := heap(), strings.Repeat("x", 1<<20-100)
	for i := range uint16(200) {
		p.publish(1, i+1, "x/y", payload)
		p.want(0x40, i+1)
	}
	if grown := heap() - before; grown > 64 {
		t.Errorf("%d MiB are kept for a session that is away", grown)
	}
	s = connect(t, b.Addr().String(), "away", 4, 0)
	if f, body := s.packet(); f&0xf0 != 0x30 || len(body) < len(payload) {
		t.Errorf("got packet %x of %d bytes, want the first message", f, len(body))
	}
}

// What waits for all sessions together is bounded as well, and a session that ends gives back what it took.
func TestMessagesForAllSessions(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{KeptBytes: 1 << 20})
	names := []string{"a", "b", "c", "d", "e", "f"}
	for _, name := range names {
		s := connect(t, b.Addr().String(), name, 4, 0)
		s.send(packet(0x82, append(utf8String([]byte{0, 1}, "x/#"), 1)))
		s.want(0x90, 1)
		s.send([]byte{0xe0, 0})
		s.wantEnd()
	}
	p := connect(t, b.Addr().String(), "p", 4, 2)
	for i := range uint16(400) {
		p.publish(1, i+1, "x/y", strings.Repeat("x", 1000))
		p.want(0x40, i+1)
	}
	if n := b.sessions.kept.Load(); n < 1<<19 || n > 1<<20+6*keptShare {
		t.Errorf("%d bytes are kept of 1 MiB", n)
	}
	for _, name := range names { // with a clean start
		connect(t, b.Addr().String(), name, 4, 2).wantPing()
	}
	if n := b.sessions.kept.Load(); n != 0 {
		t.Errorf("%d bytes are kept for nobody", n)
	}
}

// Messages of quality 2 that are never released are bounded over all sessions, and each may go on with a few.
func TestReceiptsOfAllSessions(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{MaxReceipts: 500})
	for i := range 10 {
		p := connect(t, b.Addr().String(), fmt.Sprint("c", i), 4, 0)
		for id := range uint16(100) {
			p.publish(2, id+1, "x", "")
			if _, _, err := p.read(); err != nil {
				if id < receiptShare {
					t.Errorf("client %d is cut off after %d messages", i, id)
				}
				break
			}
		}
		p.Close()
	}
	if n := b.sessions.receipts.Load(); n < 500 || n > 500+10*receiptShare {
		t.Errorf("%d receipts are kept, of 500", n)
	}
	for i := range 10 {
		p := connect(t, b.Addr().String(), fmt.Sprint("c", i), 4, 0)
		for id := range uint16(100) {
			p.rel(id + 1)
			p.want(0x70, id+1)
		}
	}
	if n := b.sessions.receipts.Load(); n != 0 {
		t.Errorf("%d receipts are kept for nothing", n)
	}
}
