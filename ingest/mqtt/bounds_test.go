package mqtt

import (
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
