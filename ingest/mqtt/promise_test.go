package mqtt

import (
	"fmt"
	"testing"
	"time"
)

// The library takes memory for a packet when its length has come. Who promises a large one and does not send it is cut off after a while, and when
// too many do so, at once.
func TestPromisedPackets(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{ReadBytes: 2 << 20, PacketTimeout: 300 * time.Millisecond})
	before := heap()
	for i := range 100 {
		p := dial(t, b.Addr().String())
		p.send(connectPacket(fmt.Sprint("c", i), 4, 2, 0))
		p.want(0x20, 0)
		p.send([]byte{0x32, 0x80, 0x80, 0x08, 0, 1, 'x'}) // 128 KiB
	}
	eventually(t, func() string {
		if n := b.server.Clients.Len(); n > 20 {
			return fmt.Sprintf("%d clients are connected, with %d MiB", n, heap()-before)
		}
		return ""
	})
	eventually(t, func() string {
		if n := b.server.Clients.Len(); n > 0 {
			return fmt.Sprintf("%d clients are connected", n)
		}
		return ""
	})
	p := connect(t, b.Addr().String(), "good", 4, 2)
	for i := range uint16(20) {
		p.publish(1, i+1, "x", string(make([]byte, 1<<20-100)))
		p.want(0x40, i+1)
	}
	alive(t, b)
}
