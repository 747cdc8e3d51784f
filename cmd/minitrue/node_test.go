package main

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Before the node is ready the front door answers operators alone, and afterwards everybody.
func TestFrontDoor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHTTP(l, &flags{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	served := make(chan error, 1)
	go func() { served <- h.serve() }()
	status := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	rows := []struct {
		path          string
		before, after int
	}{
		{"/-/ready", 503, 200},
		{"/-/healthy", 200, 200},
		{"/metrics", 200, 200},
		{"/debug/pprof/cmdline", 200, 200},
		{"/", 503, 200},
		{"/query", 503, 418},
		{"/api/v1/write", 503, 404},
	}
	for _, row := range rows {
		if got, again := status(row.path); got != row.before || (got == 503) != (again == "1") {
			t.Errorf("%s answers %d, Retry-After %q, before the node is ready; want %d", row.path, got, again, row.before)
		}
	}
	g := &graph{mux: http.NewServeMux()}
	g.mux.HandleFunc("/query", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h.ready(g)
	for _, row := range rows {
		if got, _ := status(row.path); got != row.after {
			t.Errorf("%s answers %d when the node is ready, want %d", row.path, got, row.after)
		}
	}
	if err := h.close(served); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := http.Get("http://" + l.Addr().String()); err == nil {
		t.Error("it answers after it was closed")
	}
}

// A request that was sent on an idle connection before the node began to end is answered.
func TestFrontDoorAnswersWhatWasSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHTTP(l, &flags{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	h.linger = 2 * time.Second // also on a busy machine
	served := make(chan error, 1)
	go func() { served <- h.serve() }()
	h.ready(&graph{mux: http.NewServeMux()})
	request := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	type client struct {
		net.Conn
		r *bufio.Reader
	}
	var clients []client
	for range 50 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, client{c, bufio.NewReader(c)})
	}
	for round := range 2 {
		for _, c := range clients {
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
		}
		closed := make(chan error, 1)
		if round == 1 {
			go func() { closed <- h.close(served) }()
		} else {
			closed <- nil
		}
		for i, c := range clients {
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Errorf("round %d: client %d gets no answer: %v", round, i, err)
				continue
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusOK {
				t.Errorf("round %d: client %d gets %s", round, i, resp.Status)
			}
		}
		if err := <-closed; err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func TestBannerHasThreeLinesToPaste(t *testing.T) {
	var b bytes.Buffer
	banner(&b, "127.0.0.1:1", "127.0.0.1:2", "./data")
	if got := examples(b.String()); len(got) != 3 || !strings.Contains(b.String(), "./data") {
		t.Errorf("%q", got)
	}
}

// examples are the command lines of a banner.
func examples(banner string) (lines []string) {
	_, rest, _ := strings.Cut(banner, "Try:\n")
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "mosquitto_pub ") {
			lines = append(lines, line)
		}
	}
	return lines
}
