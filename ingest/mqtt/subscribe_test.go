package mqtt

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A client that is back subscribes again to what its session has already: that is nothing more.
func TestSubscribeAgain(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{MaxFilters: 10})
	all := []byte{0, 7}
	for i := range 8 {
		all = append(utf8String(all, fmt.Sprint("x/", i)), 1)
	}
	for range 3 {
		p := connect(t, b.Addr().String(), "c", 4, 0)
		p.send(packet(0x82, all))
		if f, body := p.packet(); f != 0x90 || string(body[2:]) != strings.Repeat("\x01", 8) {
			t.Errorf("got packet %x %x", f, body)
		}
		p.send([]byte{0xe0, 0})
		p.wantEnd()
	}
}

// A will with a delay, of a client that comes back before that, is no retained message and takes no room of one.
func TestDelayedWillTakesNoRoom(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{RetainedBytes: 100_000})
	for i := range 5 {
		p := dial(t, b.Addr().String())
		body := append(utf8String(nil, "MQTT"), 5, 0x24, 0, 60) // a retained will, no clean start
		body = append(body, 5, 0x11, 0, 0, 1, 0)                // the session is kept
		body = utf8String(body, "c")
		body = append(body, 5, 0x18, 0, 0, 0, 100) // the will waits
		body = utf8String(body, fmt.Sprint("w/", i))
		body = append(binary.BigEndian.AppendUint16(body, 30_000), make([]byte, 30_000)...)
		p.send(packet(0x10, body))
		if f, body := p.packet(); f != 0x20 || body[1] != 0 {
			t.Fatalf("got packet %x %x", f, body)
		}
		p.Close()
		eventually(t, func() string {
			if _, waits := b.server.Clients.Get("c"); !waits || len(b.all()) > 0 {
				return "the client is connected"
			}
			return ""
		})
	}
	p := connect(t, b.Addr().String(), "p", 4, 2)
	p.send(packet(0x31, append(utf8String(nil, "t/1"), make([]byte, 30_000)...)))
	p.wantPing()
	if n := len(b.server.Topics.Messages("t/#")); n != 1 {
		t.Error("there is no room for a message, though nothing is retained")
	}
}

// A will with a delay that is over is retained where there is room.
func TestDelayedWillIsRetained(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{})
	will := func(topic string, n int) {
		b.server.Topics.RetainMessage(packets.Packet{TopicName: topic, Payload: make([]byte, n)}) // as the library does
		pk := packets.Packet{TopicName: topic, Payload: make([]byte, n)}
		pk.Connect.WillProperties.WillDelayInterval = 1
		(&hook{b: b}).OnRetainMessage(nil, pk, 1)
	}
	will("w/1", 40<<20)
	will("w/2", 40<<20)
	will("w/3", 20<<20)
	for topic, want := range map[string]int{"w/1": 1, "w/2": 0, "w/3": 1} {
		if n := len(b.server.Topics.Messages(topic)); n != want {
			t.Errorf("%s: %d messages are retained, want %d", topic, n, want)
		}
	}
}
