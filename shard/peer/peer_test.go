package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minitrue/minitrue/shard"
)

var testNow = time.Unix(1_700_000_000, 0)

// echo answers with what it was asked.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	epoch, _ := Epoch(r)
	w.Header().Set("X-Seen", Sender(r)+" "+strconv.FormatUint(epoch, 10)+" "+r.URL.RawQuery+" "+r.Header.Get("Content-Type"))
	_, _ = w.Write(b)
})

type world struct {
	server  *Server
	http    *httptest.Server
	member  shard.Member
	theirs  atomic.Uint64 // epoch of the server
	conns   atomic.Int64  // that were made to it
	tamper  func(*http.Request)
	metrics *prometheus.Registry
}

func newWorld(t *testing.T, secret []byte) *world {
	w := &world{metrics: prometheus.NewRegistry()}
	w.theirs.Store(7)
	w.server = NewServer(ServerOptions{Secret: secret, Epoch: w.theirs.Load, Now: func() time.Time { return testNow }, Registerer: w.metrics})
	w.server.Handle("/peer/v1/echo", echo)
	w.server.HandleCurrent("/peer/v1/current", echo)
	w.server.Handle("/peer/v1/full", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("full ", maxText), http.StatusServiceUnavailable)
	}))
	w.http = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.tamper != nil {
			w.tamper(r)
		}
		w.server.ServeHTTP(rw, r)
	}))
	w.http.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			w.conns.Add(1)
		}
	}
	w.http.Start()
	t.Cleanup(w.http.Close)
	w.member = shard.Member{Node: shard.Node{ID: "id-of-ing2"}, Name: "ing2", Peer: strings.TrimPrefix(w.http.URL, "http://")}
	return w
}

func (w *world) client(t *testing.T, o ClientOptions) *Client {
	o.Self, o.Epoch = "id-of-ing1", func() uint64 { return 7 }
	if o.Now == nil {
		o.Now = func() time.Time { return testNow }
	}
	c := NewClient(o)
	t.Cleanup(c.Close)
	return c
}

func TestPost(t *testing.T) {
	for _, secret := range [][]byte{nil, []byte("a secret of all nodes")} {
		w := newWorld(t, secret)
		c := w.client(t, ClientOptions{Secret: secret})
		for _, body := range []string{"", "hello", strings.Repeat("much ", 100_000)} {
			resp, err := c.Post(context.Background(), w.member, "/peer/v1/echo?a=b", []byte(body), http.Header{"Content-Type": {"text/x"}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != body {
				t.Errorf("%d bytes went, %d came back, %v", len(body), len(got), err)
			}
			if seen := resp.Header.Get("X-Seen"); seen != "id-of-ing1 7 a=b text/x" {
				t.Errorf("the handler saw %q", seen)
			}
		}
	}
}

func TestEpochs(t *testing.T) {
	w := newWorld(t, nil)
	w.theirs.Store(8)
	c := w.client(t, ClientOptions{})
	_, err := c.Post(context.Background(), w.member, "/peer/v1/current", []byte("x"), nil)
	var se *StatusError
	if !errors.Is(err, ErrStale) || !errors.As(err, &se) || se.Code != 409 || se.Peer != "ing2" || !strings.Contains(se.Text, "0000000000000008") {
		t.Errorf("another ring: %v", err)
	}
	for path, epoch := range map[string]uint64{"/peer/v1/echo": 8, "/peer/v1/current": 7} {
		w.theirs.Store(epoch)
		resp, err := c.Post(context.Background(), w.member, path, []byte("x"), nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		resp.Body.Close()
	}
}

func TestStatusErrorIsShort(t *testing.T) {
	w := newWorld(t, nil)
	_, err := w.client(t, ClientOptions{}).Post(context.Background(), w.member, "/peer/v1/full", nil, nil)
	var se *StatusError
	if !errors.As(err, &se) || se.Code != 503 || len(se.Text) > maxText || errors.Is(err, ErrStale) {
		t.Errorf("%.100v", err)
	}
}

func TestStrangers(t *testing.T) {
	secret := []byte("a secret of all nodes")
	set := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	rows := []struct {
		name   string
		client ClientOptions
		tamper func(*http.Request)
		code   int
		reason string
	}{
		{name: "the same secret", client: ClientOptions{Secret: secret}, code: 200},
		{name: "no secret", client: ClientOptions{}, code: 401, reason: "unsigned"},
		{name: "another secret", client: ClientOptions{Secret: []byte("guessed")}, code: 401, reason: "signature"},
		{name: "empty signature", client: ClientOptions{Secret: secret}, tamper: set(headerAuth, ""), code: 401, reason: "unsigned"},
		{name: "no hex", client: ClientOptions{Secret: secret}, tamper: set(headerAuth, "zz"), code: 401, reason: "unsigned"},
		{name: "short signature", client: ClientOptions{Secret: secret}, tamper: set(headerAuth, "00"), code: 401, reason: "signature"},
		{name: "as another node", client: ClientOptions{Secret: secret}, tamper: set(headerNode, "me"), code: 401, reason: "signature"},
		{name: "for another ring", client: ClientOptions{Secret: secret}, tamper: set(headerEpoch, "0000000000000009"), code: 401, reason: "signature"},
		{name: "at another path", client: ClientOptions{Secret: secret}, tamper: func(r *http.Request) { r.URL.RawQuery = "all=1" }, code: 401, reason: "signature"},
		{name: "by another method", client: ClientOptions{Secret: secret}, tamper: func(r *http.Request) { r.Method = "DELETE" }, code: 401, reason: "signature"},
		{name: "another hash of the body", client: ClientOptions{Secret: secret}, tamper: set(headerBody, strings.Repeat("00", 32)), code: 401, reason: "signature"},
		{name: "another body", client: ClientOptions{Secret: secret}, tamper: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("hullo")) }, code: 400},
		{name: "a shorter body", client: ClientOptions{Secret: secret}, tamper: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("hell")) }, code: 400},
		{name: "a body without a length", client: ClientOptions{Secret: secret}, tamper: func(r *http.Request) { r.ContentLength = -1 }, code: 401, reason: "body"},
		{name: "clocks four minutes apart", client: ClientOptions{Secret: secret, Now: func() time.Time { return testNow.Add(4 * time.Minute) }}, code: 200},
		{name: "a clock an hour behind", client: ClientOptions{Secret: secret, Now: func() time.Time { return testNow.Add(-time.Hour) }}, code: 200, reason: "time"},
		{name: "a clock an hour ahead", client: ClientOptions{Secret: secret, Now: func() time.Time { return testNow.Add(time.Hour) }}, code: 200, reason: "time"},
		{name: "another version", client: ClientOptions{Secret: secret}, tamper: set(headerProtocol, "2"), code: 505, reason: "version"},
		{name: "no node at all", client: ClientOptions{Secret: secret}, tamper: func(r *http.Request) { r.Header = http.Header{} }, code: 400, reason: "stranger"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, secret)
			w.tamper = r.tamper
			resp, err := w.client(t, r.client).Post(context.Background(), w.member, "/peer/v1/echo", []byte("hello"), nil)
			code := 200
			var se *StatusError
			switch {
			case err == nil:
				resp.Body.Close()
			case errors.As(err, &se):
				code = se.Code
			default:
				t.Fatal(err)
			}
			if code != r.code {
				t.Errorf("code %d, want %d: %v", code, r.code, err)
			}
			if r.reason != "" && testutil.ToFloat64(w.server.refused.WithLabelValues(r.reason)) != 1 {
				t.Errorf("it is not counted as %q", r.reason)
			}
		})
	}
}

// A client whose clock is far from a node's asks twice once, and then as the node reckons.
func TestSkewIsLearned(t *testing.T) {
	secret := []byte("s")
	w := newWorld(t, secret)
	c := w.client(t, ClientOptions{Secret: secret, Now: func() time.Time { return testNow.Add(time.Hour) }})
	for range 3 {
		resp, err := c.Post(context.Background(), w.member, "/peer/v1/echo", []byte("hello"), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if n := testutil.ToFloat64(w.server.refused.WithLabelValues("time")); n != 1 {
		t.Errorf("it was refused %v times", n)
	}
}

// A request that somebody has recorded is worth nothing later, and what the node answers to it teaches nobody a wrong time.
func TestReplay(t *testing.T) {
	secret := []byte("s")
	w := newWorld(t, secret)
	var recorded http.Header
	w.tamper = func(r *http.Request) { recorded = r.Header.Clone() }
	resp, err := w.client(t, ClientOptions{Secret: secret}).Post(context.Background(), w.member, "/peer/v1/echo", []byte("hello"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	w.tamper = nil
	w.server.o.Now = func() time.Time { return testNow.Add(replayWindow + time.Second) }
	r := httptest.NewRequest(http.MethodPost, w.http.URL+"/peer/v1/echo", strings.NewReader("hello"))
	r.Header = recorded
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	if rec.Code != http.StatusUnauthorized {
		t.Errorf("a request of six minutes ago is answered %d", rec.Code)
	}
	if _, ok := peerTime(r, rec.Result(), []byte("guessed")); ok {
		t.Error("the time is believed without the secret")
	}
	other := httptest.NewRequest(http.MethodPost, "/", nil)
	other.Header.Set(headerNonce, "0123")
	if _, ok := peerTime(other, rec.Result(), secret); ok {
		t.Error("the time is believed by another request")
	}
}

// A node that does not know the secret cannot answer in another's place.
func TestImpostor(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(headerAuth, strings.Repeat("0", 64))
	}))
	defer server.Close()
	w := newWorld(t, nil)
	w.member.Peer = strings.TrimPrefix(server.URL, "http://")
	if _, err := w.client(t, ClientOptions{Secret: []byte("s")}).Post(context.Background(), w.member, "/", nil, nil); err == nil || !strings.Contains(err.Error(), "proof") {
		t.Errorf("believed: %v", err)
	}
}

// The last byte of a body is not there before all of it is known to be as it was signed.
func TestSignedBodyHoldsBack(t *testing.T) {
	secret := []byte("s")
	sign := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/p", strings.NewReader("true"))
		stamp(r, secret, []byte("true"), testNow)
		return r
	}
	r := sign()
	if err := authenticate(r, secret, testNow); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != "true" {
		t.Errorf("read %q, %v", b, err)
	}
	r = sign()
	r.Body = io.NopCloser(strings.NewReader("fals"))
	if err := authenticate(r, secret, testNow); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for one := make([]byte, 1); ; {
		n, err := r.Body.Read(one)
		got.Write(one[:n])
		if err != nil {
			if !errors.Is(err, errBody) {
				t.Errorf("error %v", err)
			}
			break
		}
	}
	if got.Len() >= 4 {
		t.Errorf("%q was handed out", got.String())
	}
}

func TestClientGivesUp(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer server.Close()
	defer close(stop)
	w := newWorld(t, nil)
	w.member.Peer = strings.TrimPrefix(server.URL, "http://")
	c := w.client(t, ClientOptions{Timeout: 10 * time.Millisecond})
	if _, err := c.Post(context.Background(), w.member, "/", nil, nil); err == nil || !strings.Contains(err.Error(), "ing2") {
		t.Errorf("error %v", err)
	}
}
