package mqtt

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/crypto/bcrypt"
)

func login(id, user, password string) []byte {
	body := append(utf8String(nil, "MQTT"), 4, 0xc2, 0, 60)
	return packet(0x10, utf8String(utf8String(utf8String(body, id), user), password))
}

func TestUsers(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	reg := prometheus.NewRegistry()
	b, l := startBrokerLetters(t, m, BrokerOptions{Registerer: reg, Users: []User{
		{Name: "ann", Hash: string(hash), Publish: []string{"iot/sensors/+/ann"}, Subscribe: []string{"news/#"}},
		{Name: "bob", Hash: string(hash)},
	}})
	for name, raw := range map[string][]byte{
		"no user": connectPacket("x", 4, 2, 60), "wrong password": login("x", "ann", "guess"), "unknown user": login("x", "eve", "secret"),
	} {
		p := dial(t, b.Addr().String())
		p.send(raw)
		if f, body := p.packet(); f != 0x20 || body[1] != 5 {
			t.Errorf("%s: %x %x", name, f, body)
		}
		p.wantEnd()
	}
	enter := func(id, user string) *peer {
		p := dial(t, b.Addr().String())
		p.send(login(id, user, "secret"))
		if f, body := p.packet(); f != 0x20 || body[1] != 0 {
			t.Fatalf("%s: %x %x", user, f, body)
		}
		return p
	}
	ann := enter("a", "ann")
	ann.publish(1, 1, "iot/sensors/t/ann", `{"value":1,"timestamp":1}`)
	ann.want(0x40, 1)
	subscribe := func(filter string, want byte) {
		ann.send(packet(0x82, append(utf8String([]byte{0, 1}, filter), 0)))
		if f, body := ann.packet(); f != 0x90 || body[2] != want {
			t.Errorf("subscribe to %s: %x %x", filter, f, body)
		}
	}
	subscribe("news/today", 0)
	subscribe("#", 0x80)
	subscribe("$share/g/#", 0x80)
	ann.publish(1, 2, "iot/sensors/t/ann/more", `2`)
	ann.wantEnd()
	bob := enter("b", "bob")
	bob.publish(1, 1, "iot/sensors/t/b", `{"value":3,"timestamp":3}`)
	bob.want(0x40, 1)
	thief := dial(t, b.Addr().String())
	thief.send(login("b", "ann", "secret")) // would take bob's session
	if f, body := thief.packet(); f != 0x20 || body[1] != 5 {
		t.Errorf("taking a session: %x %x", f, body)
	}
	wantSamples(t, m, "t/ann@1000=1", "t/b@3000=3")
	if got := l.list(); len(got) != 1 || got[0] != "not_authorized: 2" {
		t.Errorf("put aside %q", got)
	}
	if n := testutil.ToFloat64(b.m.refused.WithLabelValues("login")); n != 3 {
		t.Errorf("%v refused logins counted", n)
	}
}

// The hash for unknown users must be as slow as a real one.
func TestUnknownUsersTakeAsLong(t *testing.T) {
	if err := bcrypt.CompareHashAndPassword([]byte(unknown), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Error(err)
	}
	if cost, err := bcrypt.Cost([]byte(unknown)); err != nil || cost != bcrypt.DefaultCost {
		t.Error(cost, err)
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS() // for its certificate
	defer srv.Close()
	m := &memory{}
	b := startBroker(t, m, BrokerOptions{TLS: &tls.Config{Certificates: srv.TLS.Certificates}})
	nc, err := tls.Dial("tcp", b.Addr().String(), &tls.Config{RootCAs: pool(srv), ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write(append(connectPacket("c", 4, 2, 60), publishPacket(4, 1, 1, topicT, `{"value":1,"timestamp":1}`)...)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8)
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, []byte{0x20, 2, 0, 0, 0x40, 2, 0, 1}) {
		t.Fatalf("%x, %v", got, err)
	}
	p := dial(t, b.Addr().String()) // without TLS
	p.send(connectPacket("c", 4, 2, 60))
	for {
		if _, err := p.r.ReadByte(); err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				t.Fatal("a client without TLS stays")
			}
			break
		}
	}
}

func pool(srv *httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(srv.Certificate())
	return p
}
