package replicate

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// newClient makes a client that trusts no answer: what it reads of one is bounded, and it follows none elsewhere.
func newClient(o *Options) *http.Client {
	config := o.Access.TLS
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxIdleConnsPerHost: lanes, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is what a target said to a request.
type answer struct {
	code    int
	text    string
	written *counts       // nil when the target does not say
	wait    time.Duration // what it asks for
}

const (
	tooLarge = http.StatusRequestEntityTooLarge
	maxText  = 4096 // bytes of an answer that are read
)

func (a *answer) good() bool { return a.code/100 == 2 }

// final says whether it is of no use to send the same again. A target that does not know this node, or is none, may be mended.
func (a *answer) final() bool {
	switch a.code {
	case http.StatusBadRequest, http.StatusConflict, tooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return a.good()
}

// persist sends a body until the answer is final. The error is that of ctx.
func (t *target) persist(ctx context.Context, body []byte) (answer, error) {
	for pause := t.o.Backoff; ; pause = min(2*pause, t.o.MaxBackoff) {
		a, err := t.post(ctx, body)
		if ctx.Err() != nil {
			return a, ctx.Err()
		}
		code := "network"
		if err == nil {
			if a.final() {
				t.down.end(t)
				return a, nil
			}
			code = strconv.Itoa(a.code)
			err = fmt.Errorf("it answers %d %s: %s", a.code, http.StatusText(a.code), a.text)
		}
		t.m.failed.WithLabelValues(code).Inc()
		t.down.begin(t, err)
		timer := time.NewTimer(max(a.wait, pause/2+rand.N(pause/2+1)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return a, ctx.Err()
		case <-timer.C:
		}
	}
}

// post sends a body once. The error is that of a request that was not answered.
func (t *target) post(ctx context.Context, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(bytes.Clone(body))) // the transport may hold it beyond the answer
	if err != nil {
		return answer{}, err
	}
	h := req.Header
	h.Set("User-Agent", "minitrue")
	h.Set("Content-Encoding", "snappy")
	h.Set("Content-Type", "application/x-protobuf")
	h.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	h.Set(Header, t.o.Node)
	if err := t.o.Access.authorize(req); err != nil {
		return answer{}, err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
	a := answer{code: resp.StatusCode, text: string(bytes.ToValidUTF8(bytes.TrimSpace(text), []byte("?")))}
	switch {
	case a.good() && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html"):
		return answer{}, fmt.Errorf("it answers %d with a web page: is the URL that of a remote_write?", a.code)
	case err != nil && !a.good(): // how much was written stands there, too
		return answer{}, err
	}
	a.wait = retryAfter(resp.Header.Get("Retry-After"), t.o.Now())
	a.written = writtenOf(resp.Header)
	return a, nil
}

// writtenOf reads how much was stored of a request that is refused in part.
func writtenOf(h http.Header) *counts {
	c, prefix := counts{}, "X-Prometheus-Remote-Write-"
	for name, n := range map[string]*int{"Samples": &c.samples, "Histograms": &c.histograms, "Exemplars": &c.exemplars} {
		v, err := strconv.Atoi(h.Get(prefix + name + "-Written"))
		if err != nil || v < 0 {
			return nil
		}
		*n = v
	}
	return &c
}

const longestWait = 5 * time.Minute // whatever a target asks for

// retryAfter is what the header says, in seconds or as a date (RFC 9110, 10.2.3).
func retryAfter(v string, now time.Time) time.Duration {
	d := time.Duration(0)
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(n, 3600)) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), longestWait)
}
