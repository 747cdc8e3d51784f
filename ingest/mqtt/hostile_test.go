package mqtt

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// alive checks that the broker still stores.
func alive(t testing.TB, b *Broker) {
	t.Helper()
	p := connect(t, b.Addr().String(), "alive", 4, 2)
	p.send(publishPacket(4, 1, 1, "iot/sensors/alive/d", `1`))
	p.want(0x40, 1)
	p.Close()
}

func connectRaw(name string, version, flags byte, rest ...byte) []byte {
	return packet(0x10, append(append(utf8String(nil, name), version, flags, 0, 60), rest...))
}

// Whatever is sent before CONNECT is accepted ends that connection and nothing else.
func TestHostileFirstPackets(t *testing.T) {
	rows := map[string][]byte{
		"publish first":               publishPacket(4, 1, 1, "a", "b"),
		"GET":                         []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS":                         {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"zeros":                       make([]byte, 100),
		"256 MB connect":              {0x10, 0xff, 0xff, 0xff, 0x7f},
		"endless length":              {0x10, 0xff, 0xff, 0xff, 0xff, 0xff},
		"connect of 64 KiB and more":  packet(0x10, make([]byte, 70<<10)),
		"empty connect":               {0x10, 0},
		"unknown protocol":            connectRaw("HTTP", 4, 2, 0, 1, 'x'),
		"unknown version":             connectRaw("MQTT", 9, 2, 0, 1, 'x'),
		"reserved flag":               connectRaw("MQTT", 4, 3, 0, 1, 'x'),
		"client id past the end":      connectRaw("MQTT", 4, 2, 0xff, 0xff, 'x'),
		"client id not UTF-8":         connectRaw("MQTT", 4, 2, 0, 1, 0xff),
		"properties past the end":     connectRaw("MQTT", 5, 2, 0xff, 0x7f, 0, 1, 'x'),
		"will QoS 3":                  connectRaw("MQTT", 4, 0x1e, 0, 1, 'x', 0, 1, 'w', 0, 1, 'w'),
		"will on a wildcard":          connectRaw("MQTT", 4, 0x06, 0, 1, 'x', 0, 1, '#', 0, 1, 'w'),
		"password flag, no password":  connectRaw("MQTT", 4, 0x42, 0, 1, 'x'),
		"no client id, kept session":  connectRaw("MQTT", 4, 0, 0, 0),
		"user name flag, no user":     connectRaw("MQTT", 4, 0x82, 0, 1, 'x'),
		"client id of 2,000 bytes":    connectPacket(strings.Repeat("x", 2000), 4, 2, 60),
		"second half never comes":     connectPacket("half", 4, 2, 60)[:9],
		"nothing at all":              nil,
		"will with levels":            connectRaw("MQTT", 4, 0x06, append(utf8String([]byte{0, 1, 'x'}, strings.Repeat("/", 500)), 0, 1, 'w')...),
		"keepalive at the wrap-round": packet(0x10, append(utf8String(nil, "MQTT"), 4, 2, 0xff)),
	}
	b := startBroker(t, &memory{}, BrokerOptions{ConnectTimeout: 300 * time.Millisecond})
	for name, raw := range rows {
		t.Run(name, func(t *testing.T) {
			p := dial(t, b.Addr().String())
			p.send(raw)
			p.wantEnd()
			alive(t, b)
		})
	}
}

// Whatever an accepted client sends ends its own connection at most.
func TestHostilePackets(t *testing.T) {
	filter := utf8String([]byte{0, 1}, "a/b")
	rows := []struct {
		name string
		raw  []byte
		ends bool
	}{
		{"subscribe without a filter", packet(0x82, []byte{0, 1}), true},
		{"subscribe without options", packet(0x82, filter), true},
		{"subscribe cut in the filter", packet(0x82, []byte{0, 1, 0, 9, 'a'}), true},
		{"subscribe cut in the length", packet(0x82, []byte{0, 1, 0}), true},
		{"subscribe without an id", packet(0x82, nil), true},
		{"subscribe with flags", packet(0x80, append(filter, 1)), true},
		{"unsubscribe cut", packet(0xa2, []byte{0, 1, 0, 9, 'a'}), true},
		{"publish of 100 MB", []byte{0x32, 0x80, 0xc2, 0xd7, 0x2f}, true},
		{"publish of 256 MB", []byte{0x32, 0xff, 0xff, 0xff, 0x7f}, true},
		{"publish with QoS 3", []byte{0x36, 2, 0, 0}, true},
		{"publish without an id", packet(0x32, utf8String(nil, "a")), true},
		{"publish with id 0", packet(0x32, append(utf8String(nil, "a"), 0, 0)), true},
		{"publish without a topic", packet(0x30, nil), true},
		{"publish on an empty topic", packet(0x30, utf8String(nil, "")), true},
		{"publish on a topic with NUL", packet(0x30, utf8String(nil, "iot/\x00")), true},
		{"publish on a topic that is not UTF-8", packet(0x30, utf8String(nil, "iot/\xff")), true},
		{"publish on a wildcard", packet(0x30, utf8String(nil, "iot/+/x")), true},
		{"publish on $SYS", publishPacket(4, 1, 1, "$SYS/x", "y"), true},
		{"publish on a thousand levels", publishPacket(4, 1, 1, strings.Repeat("a/", 1000), "y"), true},
		{"second connect", connectPacket("again", 4, 2, 60), true},
		{"connack", packet(0x20, []byte{0, 0}), true},
		{"type 0", packet(0x00, nil), true},
		{"type 15", packet(0xf0, nil), true},
		{"pubrel cut", packet(0x62, []byte{1}), true},
		{"puback for nothing", packet(0x40, []byte{0, 9}), false},
		{"pubrec for nothing", packet(0x50, []byte{0, 9}), false},
		{"pubrel for nothing", packet(0x62, []byte{0, 9}), false},
		{"subscribe to a thousand levels", packet(0x82, append(utf8String([]byte{0, 1}, strings.Repeat("+/", 1000)), 0)), false},
		{"subscribe to # in the middle", packet(0x82, append(utf8String([]byte{0, 1}, "a/#/b"), 0)), false},
	}
	for _, version := range []byte{4, 5} {
		b := startBroker(t, &memory{}, BrokerOptions{})
		for i, r := range rows {
			t.Run(fmt.Sprintf("%s, version %d", r.name, version), func(t *testing.T) {
				p := connect(t, b.Addr().String(), fmt.Sprintf("c%d", i), version, 2)
				p.send(r.raw)
				if r.ends && (version == 4 || !strings.Contains(r.name, "publish on")) {
					p.wantEnd()
				}
				alive(t, b)
			})
		}
		eventually(t, func() string {
			if n := b.server.Clients.Len(); n > len(rows) {
				return fmt.Sprintf("%d clients are left", n)
			}
			return ""
		})
	}
}

// FuzzPackets sends bytes as an accepted client; the broker must go on.
func FuzzPackets(f *testing.F) {
	for _, s := range [][]byte{
		publishPacket(4, 1, 1, "iot/sensors/a", `{"value":1}`), packet(0x82, append(utf8String([]byte{0, 1}, "a/#"), 1)),
		packet(0x82, utf8String([]byte{0, 1}, "a/b")), {0x62, 2, 0, 1}, {0xc0, 0}, {0xe0, 0}, packet(0xa2, utf8String([]byte{0, 1}, "a")),
		publishPacket(5, 2, 9, "x", "y"), {0x50, 3, 0, 1, 0x80}, {0xf0, 2, 0, 0},
	} {
		f.Add(byte(4), s)
		f.Add(byte(5), s)
	}
	b := startBroker(f, &memory{}, BrokerOptions{PacketMax: 1 << 16})
	f.Fuzz(func(t *testing.T, version byte, raw []byte) {
		p := connect(t, b.Addr().String(), "fuzz", 4+version%2, 2)
		_, _ = p.Write(raw)
		_ = p.Conn.(*net.TCPConn).CloseWrite()
		for {
			if _, _, err := p.read(); err != nil {
				break
			}
		}
		alive(t, b)
	})
}

func TestLimitOfConnections(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{MaxConnections: 2, MaxSessions: 2, ConnectTimeout: time.Hour})
	p := connect(t, b.Addr().String(), "a", 4, 0)
	connect(t, b.Addr().String(), "b", 4, 0)
	dial(t, b.Addr().String()).wantEnd()
	p.Close()
	eventually(t, func() string {
		if len(b.all()) > 1 {
			return "the connection is still there"
		}
		return ""
	})
	q := dial(t, b.Addr().String()) // a third session does not fit, the first one is still known
	q.send(connectPacket("c", 4, 2, 60))
	if f, body := q.packet(); f != 0x20 || body[1] != 3 {
		t.Fatalf("%x %x", f, body)
	}
	q.wantEnd()
	eventually(t, func() string {
		if len(b.all()) > 1 {
			return "the connection is still there"
		}
		return ""
	})
	connect(t, b.Addr().String(), "a", 4, 0)
}

// A subscriber that does not read is cut off and costs bounded memory; its broker goes on.
func TestSlowReader(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{})
	p := connect(t, b.Addr().String(), "slow", 4, 2)
	_ = p.Conn.(*net.TCPConn).SetReadBuffer(4096)
	p.send(packet(0x82, append(utf8String([]byte{0, 1}, "big/#"), 0)))
	if f, _ := p.packet(); f != 0x90 {
		t.Fatalf("%x", f)
	}
	q := connect(t, b.Addr().String(), "fast", 4, 2)
	body := strings.Repeat("x", 256<<10)
	eventually(t, func() string {
		q.publish(1, 1, "big/one", body)
		q.want(0x40, 1)
		for _, c := range b.all() {
			if cl := c.client.Load(); cl != nil && cl.ID == "slow" {
				return "the slow reader is still there"
			}
		}
		return ""
	})
	alive(t, b)
}

// Large packets before authentication must not cost memory.
func TestHalfOpenConnectionsCostLittle(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 100 {
		p := dial(t, b.Addr().String())
		p.send([]byte{0x10, 0xff, 0xff, 0x03}) // promises 64 KiB
	}
	eventually(t, func() string {
		if n := len(b.all()); n != 100 {
			return fmt.Sprintf("%d connections", n)
		}
		return ""
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Fatalf("100 half-open connections take %d bytes", grown)
	}
	alive(t, b)
}
