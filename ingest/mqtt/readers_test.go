package mqtt

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// What waits for readers is bounded over all of them: those who take nothing are cut off sooner when they are many.
func TestManySlowReaders(t *testing.T) {
	const all = 16 << 20
	b := startBroker(t, &memory{}, BrokerOptions{OutBytes: all})
	sub := packet(0x82, append(utf8String([]byte{0, 1}, "x/#"), 0))
	for i := range 30 {
		p := connect(t, b.Addr().String(), fmt.Sprint("c", i), 4, 2)
		_ = p.Conn.(*net.TCPConn).SetReadBuffer(4096)
		p.send(sub)
		p.want(0x90, 1)
	}
	before, payload := heap(), strings.Repeat("x", 1<<20-100)
	p := connect(t, b.Addr().String(), "p", 4, 2)
	for range 8 {
		p.publish(0, 0, "x/y", payload)
		p.wantPing()
	}
	if grown := heap() - before; grown > 4*all>>20 {
		t.Errorf("%d MiB wait for readers", grown)
	}
	eventually(t, func() string {
		if n := b.server.Clients.Len(); n > 20 {
			return fmt.Sprintf("%d clients are connected", n)
		}
		return ""
	})
	for _, c := range b.all() {
		_ = c.Conn.Close()
	}
	eventually(t, func() string {
		if n := b.outgoing.Load(); n != 0 {
			return fmt.Sprintf("%d bytes wait for nobody", n)
		}
		return ""
	})
	alive(t, b)
}
