package replicate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
)

// Appender stores batches in the own cluster. A batch is durable when Append returns nil, but for what is marked in b.Rejected.
type Appender interface {
	Append(ctx context.Context, b *series.Batch) error
}

// Encode gives emit what of a batch is not rejected, as remote_write 1.0 messages, which are valid during the call.
type Encode func(b *series.Batch, emit func(message []byte) error) error

// Options of a replicator. The zero value is usable but for Encode.
type Options struct {
	Targets  []string      // where remote_write goes, as [ParseURL] returns them; none: nothing is sent
	Access   Access        // to all of them
	Node     string        // this node's name, for Header
	Encode   Encode        // must be set when there are targets
	MaxBytes int64         // on disk, of what waits for one target; 0 means 1 GiB
	Interval time.Duration // how often queues are synced; 0 means before an append returns, one sync for all who wait

	Timeout    time.Duration // of a request; 0 means 30s
	Backoff    time.Duration // before the second try, about; 0 means 100ms
	MaxBackoff time.Duration // between later ones; 0 means 10s

	FS         disk.FS               // nil means disk.OS
	Now        func() time.Time      // nil means time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
}

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	o.Node = strings.Map(func(r rune) rune { // a header cannot say everything
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, o.Node)
	if o.Node == "" {
		o.Node = "minitrue"
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Backoff == 0 {
		o.Backoff = 100 * time.Millisecond
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = 10 * time.Second
	}
	if o.FS == nil {
		o.FS = disk.OS
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Access is how a node shows a target who it is, and knows whom it talks to. Files are read anew for each request, so that what is in them can be
// replaced.
type Access struct {
	TLS          *tls.Config // nil: the system's authorities, and no certificate of this node
	Username     string      // of basic authentication, with PasswordFile
	PasswordFile string
	TokenFile    string // bearer token; "" means none
}

// authorize adds what the target wants to know.
func (a *Access) authorize(h *http.Request) error {
	switch {
	case a.TokenFile != "":
		token, err := secret(a.TokenFile)
		if err != nil {
			return err
		}
		h.Header.Set("Authorization", "Bearer "+token)
	case a.Username != "":
		password, err := secret(a.PasswordFile)
		if err != nil {
			return err
		}
		h.SetBasicAuth(a.Username, password)
	}
	return nil
}

// secret reads the first line of a file.
func secret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: the first line is empty", path)
	}
	return line, nil
}

// ParseURL returns the URL of a target's remote_write: that of MiniTrue and of Prometheus when it has no path.
func ParseURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", errors.New("it is not a URL, such as https://other:8080") // whose text may hold a password
	case u.User != nil:
		return "", errors.New("a URL is shown in logs and metrics: name and password go elsewhere")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "":
		return "", fmt.Errorf("%q is not the URL of a remote_write, such as https://other:8080", s)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/api/v1/write"
	}
	return u.String(), nil
}

// folder is the name of a target's folder: readable, and different for each.
func folder(target string) string {
	host := target
	if u, err := url.Parse(target); err == nil {
		host = u.Host
	}
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, host)
	h := fnv.New64a()
	_, _ = h.Write([]byte(target))
	return fmt.Sprintf("%.100s-%016x", readable, h.Sum64())
}
