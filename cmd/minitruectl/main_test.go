package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// run runs minitruectl and returns what it printed.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(io.Discard)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// wants fails the test unless the text has every part.
func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in:\n%s", p, text)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		switch top := strings.Fields(c.CommandPath() + " -")[1]; top {
		case "verify", "backup", "restore", "import", "export":
			if c.Runnable() && !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("%s has no example", c.CommandPath())
			}
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(newRoot())
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"simulate", "--qos", "3"},
		{"simulate", "--rate", "0"},
		{"simulate", "--rate", "1", "--interval", "1s"},
		{"simulate", "--password-file", filepath.Join(t.TempDir(), "none")},
		{"bench", "load", "--series", "0"},
		{"bench", "load", "--protocol", "3.0"},
		{"bench", "load", "--values", "x"},
		{"bench", "load", "--start", "yesterday"},
		{"bench", "load", "--interval", "1us"},
		{"bench", "load", "--pid", "1073741824"},
		{"bench", "check"},
		{"bench", "check", "--acked-log", filepath.Join(t.TempDir(), "none")},
		{"bench", "query", "--end", "tomorrow"},
		{"bench", "mqtt", "--messages", "-1"},
		{"wal", "dump"},
		{"wal", "dump", filepath.Join(t.TempDir(), "none")},
		{"wal", "dump", t.TempDir()},
		{"block", "inspect", t.TempDir()},
		{"health", "--url", "http://"},
		{"verify", "--data-dir", t.TempDir()},
		{"backup", "--data-dir", t.TempDir(), "--to", t.TempDir()},
		{"backup", "--data-dir", t.TempDir()},
		{"backup", "--to", "s3://bucket"},
		{"backup", "list", "--from", t.TempDir(), "--config", filepath.Join(t.TempDir(), "none")},
		{"backup", "prune", "--from", t.TempDir()},
		{"backup", "verify", "--from", t.TempDir(), "--at", "noon"},
		{"restore", "--from", t.TempDir(), "--data-dir", filepath.Join(t.TempDir(), "x")},
		{"import", "prometheus"},
		{"import", "prometheus", "--dir", filepath.Join(t.TempDir(), "none")},
		{"import", "remote-read", "--from", "http://127.0.0.1:1"},
		{"import", "remote-read", "--from", "http://127.0.0.1:1", "--start", "0", "--window", "1s"},
		{"import", "csv", filepath.Join(t.TempDir(), "none")},
		{"import", "csv", "--delimiter", ",,", os.DevNull},
		{"import", "csv", "--label", "x", os.DevNull},
		{"import", "csv", "--state", "x", os.DevNull},
		{"import", "jsonl", "--connections", "0", os.DevNull},
		{"import", "jsonl", "--protocol", "3.0", os.DevNull},
		{"import", "parquet", os.DevNull},
		{"import", "openmetrics", os.DevNull}, // without # EOF
		{"export", "--format", "xml"},
		{"export", "--match", "{"},
		{"export", "--start", "noon"},
		{"export", "--start", "5", "--end", "4"},
		{"export", "--data-dir", t.TempDir()},
		{"export", "--data-dir", t.TempDir(), "--url", "http://127.0.0.1:1"},
		{"export", "--url", "http://127.0.0.1:1"},
		{"nothing"},
	} {
		if out, err := run(t, args...); err == nil {
			t.Errorf("%q was accepted: %s", args, out)
		}
	}
}

// Flags of the loader may be written with underscores; the end of the load is a minute ago.
func TestLoadIsChecked(t *testing.T) {
	var requests atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/write", func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /api/v1/query", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"status":"success","data":{"result":[{"value":[0,"6"]}]}}`)
	})
	mux.HandleFunc("POST /api/v1/read", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	acked := filepath.Join(t.TempDir(), "acked")

	out, err := run(t, "bench", "load", "--url", s.URL, "--series", "100", "--samples", "6", "--acked_log", acked, "--data_dir", filepath.Dir(acked), "--verify")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, "600 samples in 6 requests", "samples a second", "server disk", "600 samples by PromQL")
	if requests.Load() != 6 {
		t.Errorf("%d requests came", requests.Load())
	}
	out, err = run(t, "bench", "load", "--url", s.URL, "--series", "100", "--samples", "7", "--json", "--verify", "--start", "2026-01-02T03:04:05Z")
	if err == nil || !strings.Contains(err.Error(), "has 600 samples of this load, 700 were acknowledged") {
		t.Errorf("error %v", err)
	}
	wants(t, out, `"samples": 700`, `"start_ms": 1767323045000`, `"counted": 600`)

	out, err = run(t, "bench", "check", "--url", s.URL, "--acked-log", acked)
	if err == nil {
		t.Error("a server that lost everything passed the check")
	}
	wants(t, out, "lost", "600", "which was acknowledged")
}

func TestHealth(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/-/ready" || asked.Add(1) < 3 {
			http.Error(w, "replaying", http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	if _, err := run(t, "health", "--url", s.URL); err == nil || !strings.Contains(err.Error(), "replaying") {
		t.Errorf("error %v", err)
	}
	if out, err := run(t, "health", "--url", s.URL, "--wait", "1m"); err != nil || out != "ready\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestSimulateStops(t *testing.T) {
	root := newRoot()
	root.SetArgs([]string{"simulate", "--broker", "tcp://127.0.0.1:1", "--duration", "1ms"})
	var out bytes.Buffer
	root.SetOut(&out)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := root.ExecuteContext(ctx); err != nil || out.String() != "published 0 readings, dropped 0\n" {
		t.Fatalf("%q, %v", out.String(), err)
	}
}

// exists is for tests that want a file beside another.
func exists(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
