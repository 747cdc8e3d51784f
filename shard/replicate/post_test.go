package replicate

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

func TestParseURL(t *testing.T) {
	rows := []struct{ in, want string }{
		{"https://other:9090", "https://other:9090/api/v1/write"},
		{"http://other/", "http://other/api/v1/write"},
		{"http://other:8428/api/v1/push?tenant=1", "http://other:8428/api/v1/push?tenant=1"},
		{"http://[::1]:8080", "http://[::1]:8080/api/v1/write"},
		{"other:8080", ""}, {"ftp://other", ""}, {"", ""}, {"http://", ""}, {"http://a b", ""},
		{"https://me:secret@other", ""}, {"https://me:secret@oth er", ""}, {"http://other/#x", ""},
	}
	for _, row := range rows {
		got, err := ParseURL(row.in)
		if got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%q is %q, %v; want %q", row.in, got, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells the password: %v", row.in, err)
		}
	}
	if folder("http://a:1/x") == folder("http://a:1/y") || strings.ContainsAny(folder("http://[::1]:8080/../x"), "/[:") {
		t.Error("folders are not told apart, or have strange names")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC)
	rows := []struct {
		in   string
		want time.Duration
	}{
		{"", 0}, {"7", 7 * time.Second}, {"-7", 0}, {"soon", 0}, {"999999999999", 0}, {"1000000", longestWait}, {"1e9", 0},
		{"Thu, 01 Jan 2026 00:00:30 GMT", 29 * time.Second}, {"Thu, 01 Jan 2099 00:00:30 GMT", longestWait}, {"Thu, 01 Jan 1970 00:00:30 GMT", 0},
	}
	for _, row := range rows {
		if row.in == "999999999999" {
			row.want = longestWait
		}
		if got := retryAfter(row.in, now); got != row.want {
			t.Errorf("%q is %v, want %v", row.in, got, row.want)
		}
	}
}

// The target says when to come again, and it is not asked before.
func TestPatience(t *testing.T) {
	other := newOther(t)
	var mu sync.Mutex
	var times []time.Time
	other.answer = func(w http.ResponseWriter, _ *http.Request, _ *prompb.WriteRequest) (bool, bool) {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Now())
		if len(times) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		return len(times) == 1, false
	}
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{}, other.URL)
	start(t, r)
	put(t, r, batchOf(1, 1, 1))
	until(t, "it arrives", func() bool { return other.has() == 1 })
	if d := times[1].Sub(times[0]); d < time.Second {
		t.Errorf("it was asked again after %v", d)
	}
}

// Answers that are none of a remote_write are not taken for success, and have no say in where anything goes.
func TestStrangeAnswers(t *testing.T) {
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it follows to another server") }))
	t.Cleanup(trap.Close)
	strange := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<h1>It works!")
		},
		func(w http.ResponseWriter) {
			w.Header().Set("Location", trap.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound); _, _ = w.Write(make([]byte, 10<<20)) },
		func(w http.ResponseWriter) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			w.WriteHeader(http.StatusNoContent)
		},
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden); _, _ = io.WriteString(w, "\xff\x00") },
	}
	other, log := newOther(t), &logged{}
	n := 0
	other.answer = func(w http.ResponseWriter, _ *http.Request, _ *prompb.WriteRequest) (bool, bool) {
		if n++; n <= len(strange) {
			strange[n-1](w)
			return true, false
		}
		return false, false
	}
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, other.URL)
	start(t, r)
	put(t, r, batchOf(1, 1, 1))
	until(t, "it arrives", func() bool { return other.has() == 1 })
	until(t, "the answer is read", func() bool { return strings.Contains(log.String(), "takes writes again") })
	if n != len(strange)+1 || !strings.Contains(log.String(), "web page") {
		t.Errorf("%d requests; the log: %s", n, log)
	}
}

// A target that never answers is given up after a while, and tried again.
func TestSilence(t *testing.T) {
	other := newOther(t)
	var n atomic.Int64 // a request may be given up before it is seen
	other.answer = func(_ http.ResponseWriter, r *http.Request, _ *prompb.WriteRequest) (bool, bool) {
		if n.Add(1) == 1 {
			<-r.Context().Done()
			return true, false
		}
		return false, false
	}
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{Timeout: 50 * time.Millisecond}, other.URL)
	start(t, r)
	put(t, r, batchOf(1, 1, 1))
	until(t, "it arrives", func() bool { return other.has() == 1 })
}

// The target knows this node by name and password or by a token, which may change, and by its own authority.
func TestAccess(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token := file("token", "old\n")
	rows := []struct {
		name   string
		access Access
		want   string
	}{
		{"password", Access{Username: "me", PasswordFile: file("password", "open sesame\r\nrest")}, "Basic bWU6b3BlbiBzZXNhbWU="},
		{"token", Access{TokenFile: token}, "Bearer new"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			other := &otherCluster{values: map[place]uint64{}, newest: map[string]int64{}}
			other.Server = httptest.NewTLSServer(other)
			t.Cleanup(other.Close)
			other.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
			other.answer = func(w http.ResponseWriter, r *http.Request, _ *prompb.WriteRequest) (bool, bool) {
				if r.Header.Get("Authorization") != row.want {
					w.WriteHeader(http.StatusUnauthorized)
					file("token", "new")
					return true, false
				}
				return false, false
			}
			stranger := newReplicator(t, t.TempDir(), &ownCluster{}, Options{Access: row.access}, other.URL)
			stop := start(t, stranger)
			put(t, stranger, batchOf(1, 1, 1))
			until(t, "it does not trust the certificate", func() bool {
				stranger.targets[0].down.mu.Lock()
				defer stranger.targets[0].down.mu.Unlock()
				return !stranger.targets[0].down.since.IsZero()
			})
			stop()
			if other.has() != 0 {
				t.Error("it sends to whom it does not trust")
			}
			pool := x509.NewCertPool()
			pool.AddCert(other.Certificate())
			row.access.TLS = &tls.Config{RootCAs: pool}
			r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{Access: row.access}, other.URL)
			start(t, r)
			put(t, r, batchOf(1, 1, 1))
			until(t, "it arrives", func() bool { return other.has() == 1 })
		})
	}
}
