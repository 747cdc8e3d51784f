package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// SIGTERM under load: the node ends by itself with exit code 0, readers of /ws are told,
// and what it acknowledged is there after the next start.
func TestStop(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, n.url, 1000, 50_000)
	w := newWriter(n, "writer")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.run(ctx)
	}()
	said := listen(t, n)

	for range 2 {
		untilScalar(t, n.url, `count_over_time(temperature{device_id="device-000000"}[30d])`, func(v float64) bool { return v >= 10 })
		untilScalar(t, n.url, `max_over_time(sequence[2h])`, func(v float64) bool { return v >= 100 })
		if code := n.Stop(t); code != 0 {
			t.Fatalf("exit code %d, want 0", code)
		}
		if strings.Contains(n.Output(), "level=ERROR") {
			t.Error("it logs an error")
		}
		n.start(t)
		if !strings.Contains(n.Output(), "replayed the log") {
			t.Error("it does not say what it replayed")
		}
	}
	var bye websocket.CloseError
	if err := <-said; !errors.As(err, &bye) || bye.Code != websocket.StatusGoingAway {
		t.Errorf("the reader of /ws was told %v", err)
	}
	stop()
	<-ended
	l.check(t, n.url)
	w.check(t, n)
}

// listen reads /ws until it ends, and says why.
func listen(t *testing.T, n *node) <-chan error {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(n.url, "http")+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	said := make(chan error, 1)
	go func() {
		for {
			if _, _, err := c.Read(t.Context()); err != nil {
				said <- err
				return
			}
		}
	}()
	return said
}

// While a node replays its log it says so, and answers operators.
func TestReplay(t *testing.T) {
	t.Parallel()
	n := startNode(t, "--memtable-size=1GB")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, n.url, 20_000, 0)
	untilScalar(t, n.url, `count_over_time(temperature{device_id="device-000000"}[30d])`, func(v float64) bool { return v >= 30 })
	stop()
	<-l.ended
	n.Kill(t)
	n.launch(t)
	waited := false
	proc.Until(t, "it is ready", func() error {
		resp, err := http.Get(n.url + "/-/ready")
		if err != nil {
			return err // it does not listen yet
		}
		defer resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusOK:
			return nil
		case resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "":
			t.Fatalf("while it replays it answers %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
		if !waited {
			waited = true
			if _, err := fetch(n.url + "/-/healthy"); err != nil {
				t.Errorf("healthy: %v", err)
			}
			if _, err := fetch(n.url + "/metrics"); err != nil {
				t.Errorf("metrics: %v", err)
			}
		}
		return errors.New(resp.Status)
	})
	if !waited {
		t.Log("the replay was too quick to be seen")
	}
	untilSays(t, n, "msg=ready") // which it says a moment after it is
	if log := n.Output(); !strings.Contains(log, "replayed the log") || strings.Index(log, "replayed the log") > strings.Index(log, "msg=ready") {
		t.Error("it was ready before it had replayed its log")
	}
	l.check(t, n.url)
}

// Two nodes cannot share a data folder, and the second one says which.
func TestDataFolderIsLocked(t *testing.T) {
	t.Parallel()
	first := startNode(t)
	second := newNode(t, "--data-dir", first.data)
	second.launch(t)
	if code := second.Wait(t); code == 0 {
		t.Error("the second node's exit code is 0")
	}
	if out := second.Output(); !strings.Contains(out, first.data) || !strings.Contains(out, "in use") {
		t.Errorf("the second node says %s", out)
	}
	if _, err := fetch(first.url + "/-/ready"); err != nil {
		t.Errorf("the first node: %v", err)
	}
}

// A taken port ends a node at once, with the flag that helps.
func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	first := startNode(t)
	port := first.url[strings.LastIndex(first.url, ":")+1:]
	rows := []struct{ flag, value, want string }{
		{"--port", port, "--port"},
		{"--mqtt-listen", first.mqtt, first.mqtt},
	}
	for _, row := range rows {
		second := newNode(t, row.flag, row.value)
		second.launch(t)
		if code := second.Wait(t); code != 1 {
			t.Errorf("%s %s: exit code %d, want 1", row.flag, row.value, code)
		}
		if out := second.Output(); !strings.Contains(out, row.want) || !strings.Contains(out, "address already in use") {
			t.Errorf("%s %s: it says %s", row.flag, row.value, out)
		}
	}
}

// A node that was told something wrong says which flag.
func TestWrongFlags(t *testing.T) {
	t.Parallel()
	rows := []struct {
		args []string
		want string
	}{
		{[]string{"--mode=both"}, `--mode: "both" is not one of`},
		{[]string{"--retention=soon"}, "--retention: "},
		{[]string{"--wal_sync=never"}, "--wal-sync: "},
		{[]string{"--port=x"}, "--port"},
		{[]string{"--nonsense"}, "--nonsense"},
		{[]string{"--config=/does/not/exist"}, "--config: "},
		{[]string{"all"}, "all"},
	}
	for _, row := range rows {
		n := newNode(t, row.args...)
		n.launch(t)
		if code := n.Wait(t); code != 1 {
			t.Errorf("%s: exit code %d, want 1", row.args, code)
		}
		if out := n.Output(); !strings.Contains(out, row.want) || strings.Count(out, "\n") > 3 {
			t.Errorf("%s: it says %s", row.args, out)
		}
	}
}

// The modes open the doors that they promise, and no other.
func TestModes(t *testing.T) {
	t.Parallel()
	rows := []struct {
		mode         string
		write, query int
	}{
		{"all", http.StatusMethodNotAllowed, http.StatusOK},
		{"ingestion", http.StatusMethodNotAllowed, http.StatusNotFound},
		{"query", http.StatusForbidden, http.StatusOK},
	}
	for _, row := range rows {
		t.Run(row.mode, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, "--mode", row.mode)
			for path, want := range map[string]int{
				"/api/v1/write": row.write, "/api/v1/query?query=1": row.query, "/ws": http.StatusUpgradeRequired, "/-/ready": 200, "/metrics": 200, "/debug/pprof/cmdline": 200, "/nowhere": 404,
			} {
				resp, err := http.Get(n.url + path)
				if err != nil {
					t.Fatal(err)
				}
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
				if resp.StatusCode != want {
					t.Errorf("GET %s answers %s, want %d", path, resp.Status, want)
				}
			}
			if code := n.Stop(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
