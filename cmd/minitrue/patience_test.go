package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// patientDoor is the HTTP server of a node with a handler that reads a body, tells how that went, and answers what its context says a while later.
func patientDoor(t *testing.T, patience, work time.Duration) (addr string, read chan error) {
	return patientDoorWith(t, "", patience, work)
}

// patientDoorWith is patientDoor with a web configuration.
func patientDoorWith(t *testing.T, config string, patience, work time.Duration) (addr string, read chan error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHTTP(l, &flags{WebConfig: config}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	h.patience = patience
	read = make(chan error, 10)
	mux := http.NewServeMux()
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
		select {
		case <-r.Context().Done():
			http.Error(w, context.Cause(r.Context()).Error(), http.StatusInternalServerError)
		case <-time.After(work):
		}
	})
	h.ready(&graph{mux: mux})
	served := make(chan error, 1)
	go func() { served <- h.serve() }()
	t.Cleanup(func() {
		if err := h.close(served); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), read
}

// Who promises a body and does not send it holds what a request takes for a while, and not for ever, whether nothing comes or hardly anything.
func TestBodyThatDoesNotCome(t *testing.T) {
	addr, read := patientDoor(t, 2*time.Second, 0)
	for _, drip := range []time.Duration{0, 20 * time.Millisecond} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\nhalf"); err != nil {
			t.Fatal(err)
		}
		deadline := time.After(time.Minute)
		for ended := false; !ended; {
			var tick <-chan time.Time
			if drip > 0 {
				tick = time.After(drip)
			}
			select {
			case err := <-read:
				if ended = true; err == nil {
					t.Error("a body that did not come was read")
				}
			case <-tick:
				_, _ = c.Write([]byte("x"))
			case <-deadline:
				t.Fatalf("a body is still waited for, of which a byte comes every %v", drip)
			}
		}
	}
}

// wantAnswer checks that a request was read and answered.
func wantAnswer(t *testing.T, resp *http.Response, err error, read chan error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if readErr := <-read; err != nil || readErr != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v %v: %s %s", err, readErr, resp.Status, text)
	}
}

// A body that comes, however long the work on it takes, is answered, and so is the next one on the connection. It is short, so that its time is over
// while the work goes on.
func TestBodyThatComes(t *testing.T) {
	addr, read := patientDoor(t, 2*time.Second, 3*time.Second)
	for range 2 {
		resp, err := http.Post("http://"+addr+"/read", "text/plain", strings.NewReader(strings.Repeat("x", 100)))
		wantAnswer(t, resp, err, read)
	}
}

// What has no body has no limit.
func TestNoBodyNoLimit(t *testing.T) {
	addr, read := patientDoor(t, 2*time.Second, 3*time.Second)
	for range 2 {
		resp, err := http.Get("http://" + addr + "/read")
		wantAnswer(t, resp, err, read)
	}
}
