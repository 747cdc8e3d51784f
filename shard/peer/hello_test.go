package peer

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestHello(t *testing.T) {
	secret := []byte("s")
	w := newWorld(t, secret)
	if err := w.client(t, ClientOptions{Secret: secret}).Hello(t.Context(), w.member); err != nil {
		t.Error(err)
	}
	var se *StatusError
	if err := w.client(t, ClientOptions{Secret: []byte("x")}).Hello(t.Context(), w.member); !errors.As(err, &se) || se.Code != http.StatusUnauthorized {
		t.Errorf("with another secret: %v", err)
	}
	w.tamper = func(r *http.Request) { *r = *r.Clone(r.Context()); r.URL.Path = "/peer/v1/unknown" }
	if err := w.client(t, ClientOptions{}).Hello(t.Context(), w.member); err == nil {
		t.Error("it is let in without the secret")
	}
	old := newWorld(t, nil)
	old.tamper = w.tamper
	if err := old.client(t, ClientOptions{}).Hello(t.Context(), old.member); err != nil {
		t.Errorf("a node that does not know the question: %v", err)
	}
}

// Handshakes that fail are counted and logged like other refusals, and what else the server has to say is not.
func TestFailedHandshakesAreRefusals(t *testing.T) {
	var out bytes.Buffer
	now := testNow
	s := NewServer(ServerOptions{Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	log := s.ErrorLog()
	log.Printf("http: TLS handshake error from %s: %v", "[::1]:1234", "tls: no certificate")
	log.Printf("http: TLS handshake error from %s: %v", "[::1]:1235", "EOF") // in the same second
	log.Printf("http: panic serving")
	if n := testutil.ToFloat64(s.refused.WithLabelValues("tls")); n != 2 {
		t.Errorf("%v are counted", n)
	}
	if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "from=[::1]:1234 reason=tls err=\"tls: no certificate\"") {
		t.Errorf("the log has %s", text)
	}
}
