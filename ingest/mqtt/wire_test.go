package mqtt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// peer is a client that says exactly what a test wants.
type peer struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &peer{nc, t, bufio.NewReader(nc)}
}

// connect dials and says CONNECT. Flag 2 asks for a clean start.
func connect(t testing.TB, addr, id string, version, flags byte) *peer {
	t.Helper()
	p := dial(t, addr)
	p.send(connectPacket(id, version, flags, 60))
	if k, body := p.packet(); k != 0x20 || body[1] != 0 {
		t.Fatalf("CONNACK is %x %x", k, body)
	}
	return p
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next packet.
func (p *peer) read() (first byte, body []byte, err error) {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	if first, err = p.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(p.r)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(p.r, body)
	return first, body, err
}

func (p *peer) packet() (byte, []byte) {
	p.t.Helper()
	first, body, err := p.read()
	if err != nil {
		p.t.Fatal(err)
	}
	return first, body
}

// want checks that the next packet has this first byte and packet id.
func (p *peer) want(first byte, id uint16) {
	p.t.Helper()
	f, body := p.packet()
	if f != first || len(body) < 2 || binary.BigEndian.Uint16(body) != id {
		p.t.Fatalf("got packet %x %x, want %x for id %d", f, body, first, id)
	}
}

// wantPing checks that nothing but an answer to a ping comes: what was sent before has been read.
func (p *peer) wantPing() {
	p.t.Helper()
	p.send([]byte{0xc0, 0})
	if f, body := p.packet(); f != 0xd0 {
		p.t.Fatalf("got packet %x %x, want PINGRESP", f, body)
	}
}

// wantEnd checks that the broker closes the connection; a DISCONNECT may come before.
func (p *peer) wantEnd() {
	p.t.Helper()
	for {
		f, body, err := p.read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatal("the connection stays open")
		case err != nil:
			return
		case f != 0xe0 && f != 0x20:
			p.t.Fatalf("got packet %x %x, want the end", f, body)
		}
	}
}

func (p *peer) publish(qos byte, id uint16, topic, payload string) {
	p.t.Helper()
	p.send(publishPacket(4, qos, id, topic, payload))
}

func (p *peer) rel(id uint16) {
	p.t.Helper()
	p.send([]byte{0x62, 2, byte(id >> 8), byte(id)})
}

func TestWindow(t *testing.T) {
	w := window{max: 1}
	one, two := publishPacket(4, 1, 1, "a", "x"), publishPacket(4, 2, 2, "a", "y")
	zero, ack := publishPacket(4, 0, 0, "a", "z"), []byte{0x40, 2, 0, 9}
	var all []byte
	for _, p := range [][]byte{one, two, zero, ack} {
		all = append(all, p...)
	}
	out := w.pass(nil, all)
	if want := string(one) + string(zero) + string(ack); string(out) != want {
		t.Fatalf("passed %x, want %x", out, want)
	}
	if w.bytes != len(two) {
		t.Fatalf("%d bytes held", w.bytes)
	}
	if out = w.credit(nil); string(out) != string(two) || w.bytes != 0 {
		t.Fatalf("credit gave %x", out)
	}
	if out = w.credit(nil); len(out) != 0 || w.open != 0 {
		t.Fatalf("credit gave %x, %d open", out, w.open)
	}
}

func TestHello(t *testing.T) {
	rows := []struct {
		name   string
		in     []byte
		ok     bool
		passed bool
	}{
		{"connect", connectPacket("x", 4, 2, 0), true, true},
		{"half a length", []byte{0x10, 0x80}, true, false},
		{"publish", []byte{0x30, 5}, false, false},
		{"GET", []byte("GET / HTTP/1.1\r\n"), false, false},
		{"flags", []byte{0x11, 5}, false, false},
		{"too long", []byte{0x10, 0xff, 0xff, 0xff, 0x7f}, false, false},
		{"five bytes", []byte{0x10, 0x80, 0x80, 0x80, 0x80, 0x00}, false, false},
	}
	for _, r := range rows {
		whole, bytewise := hello{max: 1000}, hello{max: 1000}
		err := whole.check(r.in)
		var err1 error
		for i := 0; i < len(r.in) && err1 == nil && !bytewise.passed; i++ {
			err1 = bytewise.check(r.in[i : i+1])
		}
		if (err == nil) != r.ok || (err1 == nil) != r.ok || whole.passed != r.passed || bytewise.passed != r.passed {
			t.Errorf("%s: %v %v, passed %v %v", r.name, err, err1, whole.passed, bytewise.passed)
		}
	}
}
