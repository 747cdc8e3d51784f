package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whatever is asked is answered as by Post, one request after the other on one connection, also after refusals and behind bodies that nobody read.
func TestWrite(t *testing.T) {
	for _, secret := range [][]byte{nil, []byte("a secret of all nodes")} {
		w := newWorld(t, secret)
		c := w.client(t, ClientOptions{Secret: secret})
		for range 3 {
			for _, body := range []string{"", "hello", strings.Repeat("much ", 100_000)} {
				got, err := c.Write(t.Context(), w.member, "/peer/v1/echo?a=b", []byte(body), http.Header{"Content-Type": {"text/x"}})
				if err != nil || string(got) != body {
					t.Errorf("%d bytes went, %d came back, %v", len(body), len(got), err)
				}
			}
			var se *StatusError
			if _, err := c.Write(t.Context(), w.member, "/peer/v1/full", []byte("is not read"), nil); !errors.As(err, &se) || se.Code != 503 {
				t.Errorf("error %v", err)
			}
			w.theirs.Store(8)
			if _, err := c.Write(t.Context(), w.member, "/peer/v1/current", nil, nil); !errors.Is(err, ErrStale) {
				t.Errorf("error %v", err)
			}
			w.theirs.Store(7)
		}
		if n := w.conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		if _, err := c.Write(t.Context(), w.member, "/peer/v1/full", make([]byte, 2*maxDrained), nil); err == nil {
			t.Error("no error")
		}
		if got, err := c.Write(t.Context(), w.member, "/peer/v1/echo", []byte("on"), nil); err != nil || string(got) != "on" {
			t.Errorf("after a body that was not read to its end: %q, %v", got, err)
		}
	}
}

// Each request on a connection has to prove that it is a peer's, not only the first.
func TestWriteStrangers(t *testing.T) {
	w := newWorld(t, []byte("a secret of all nodes"))
	c := w.client(t, ClientOptions{Secret: []byte("a secret of all nodes")})
	stranger := w.client(t, ClientOptions{Secret: []byte("guessed")})
	for range 2 {
		if _, err := c.Write(t.Context(), w.member, "/peer/v1/echo", []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
		c.links.mu.Lock()
		stranger.links.idle, c.links.idle = c.links.idle, stranger.links.idle // on the connection of one who is believed
		c.links.mu.Unlock()
		var se *StatusError
		if _, err := stranger.Write(t.Context(), w.member, "/peer/v1/echo", []byte("x"), nil); !errors.As(err, &se) || se.Code != 401 {
			t.Errorf("error %v", err)
		}
	}
}

func TestWriteMany(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, ClientOptions{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				body := strings.Repeat(fmt.Sprint(i, " "), j)
				if got, err := c.Write(t.Context(), w.member, "/peer/v1/echo", []byte(body), nil); err != nil || string(got) != body {
					t.Errorf("%v, %d bytes of %d", err, len(got), len(body))
				}
			}
		})
	}
	wg.Wait()
	if n := w.conns.Load(); n > 8 {
		t.Errorf("%d connections for 8 senders", n)
	}
}

// A server that closes takes all connections with it; a sender finds another one that stands in its place.
func TestWriteServerCloses(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, ClientOptions{})
	write := func() error {
		_, err := c.Write(t.Context(), w.member, "/peer/v1/echo", []byte("x"), nil)
		return err
	}
	tracked := func() int {
		w.server.mu.Lock()
		defer w.server.mu.Unlock()
		return len(w.server.steady)
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	w.server.Close()
	if err := write(); err == nil {
		t.Error("a server that is closed has answered")
	}
	w.server.mu.Lock()
	w.server.closed = false
	w.server.mu.Unlock()
	if err := write(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); tracked() != 1; time.Sleep(time.Millisecond) { // the first one ends by itself
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are tracked", tracked())
		}
	}
	w.server.Close() // the idle connection is dead, which the next write must not suffer from
	w.server.mu.Lock()
	w.server.closed = false
	w.server.mu.Unlock()
	if err := write(); err != nil {
		t.Error(err)
	}
}

// Who waits no longer gets its own reason, at once, and the connection is not used again.
func TestWriteGivesUp(t *testing.T) {
	w := newWorld(t, nil)
	began, stop := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex // guards calls
	calls := map[string]int{}
	w.server.Handle("/peer/v1/slow", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls[r.URL.RawQuery]++
		mu.Unlock()
		if r.URL.RawQuery == "1" {
			close(began)
		}
		<-stop
	}))
	defer close(stop)
	c := w.client(t, ClientOptions{Timeout: time.Hour})
	connected := func() {
		t.Helper()
		c.links.timeout = time.Hour
		if got, err := c.Write(t.Context(), w.member, "/peer/v1/echo", []byte("x"), nil); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	}
	connected()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-began
		cancel()
	}()
	if _, err := c.Write(ctx, w.member, "/peer/v1/slow?1", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	timedOut := func(err error) {
		t.Helper()
		if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "dial") {
			t.Errorf("error %v", err)
		}
	}
	connected()
	ctx2, cancel2 := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel2()
	_, err := c.Write(ctx2, w.member, "/peer/v1/slow?2", nil, nil)
	timedOut(err)
	connected()
	c.links.timeout = 10 * time.Millisecond
	_, err = c.Write(t.Context(), w.member, "/peer/v1/slow?3", nil, nil)
	timedOut(err)
	connected()
	mu.Lock()
	defer mu.Unlock()
	for request, n := range calls { // on a slow machine the last two may not have come in time
		if n != 1 {
			t.Errorf("request %s came %d times: none that was begun is sent again", request, n)
		}
	}
}

func TestWriteTLS(t *testing.T) {
	w := newWorld(t, nil)
	secured := httptest.NewTLSServer(w.server)
	t.Cleanup(secured.Close)
	w.member.Peer = strings.TrimPrefix(secured.URL, "https://")
	config := secured.Client().Transport.(*http.Transport).TLSClientConfig
	c := w.client(t, ClientOptions{TLS: config})
	for range 2 {
		if got, err := c.Write(t.Context(), w.member, "/peer/v1/echo", []byte("x"), nil); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := w.client(t, ClientOptions{TLS: &tls.Config{MinVersion: tls.VersionTLS12}}).Write(t.Context(), w.member, "/peer/v1/echo", nil, nil); err == nil {
		t.Error("a certificate that nobody knows is believed")
	}
}

// Whoever has a connection cannot make the server keep more than a head and a body that nobody reads.
func TestSteadyHostile(t *testing.T) {
	for name, second := range map[string]string{
		"endless head":  "POST /peer/v1/echo HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 4000)+"\r\n", 600),
		"no request":    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"negative body": "POST /peer/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			conn, err := net.Dial("tcp", w.member.Peer)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			r := bufio.NewReader(conn)
			_, _ = fmt.Fprintf(conn, "POST /peer/v1/echo HTTP/1.1\r\nHost: x\r\n%s: 1\r\n%s: 1\r\nContent-Length: 2\r\n\r\nhi", headerProtocol, headerSteady)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hi" {
				t.Fatalf("%q, %v", b, err)
			}
			_, _ = io.WriteString(conn, second) // the server may have closed meanwhile
			if resp, err := http.ReadResponse(r, nil); err == nil {
				t.Errorf("it is answered: %v", resp.Status)
			}
		})
	}
}

// Who is refused holds no connection, and no buffers for it, until he may ask again.
func TestRefusedStrangersAreHungUpOn(t *testing.T) {
	w := newWorld(t, []byte("a secret of all nodes"))
	conn, err := net.Dial("tcp", w.member.Peer)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /peer/v1/echo HTTP/1.1\r\nHost: x\r\n%s: 1\r\nContent-Length: 0\r\n\r\n", headerSteady); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("the answer is %.100q, then %v", answer, err)
	}
}
