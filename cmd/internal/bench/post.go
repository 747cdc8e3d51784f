package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// Endpoint is the URL of a door of a server: base itself when it has a path, else base with
// this path.
func Endpoint(base, path string) (string, error) {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("server URL: %w", err)
	}
	if u.Host == "" {
		return "", fmt.Errorf("server URL %q has no host", base)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = path
	}
	return u.String(), nil
}

// newClient is an HTTP client with this many connections that stay open.
func newClient(connections int) *http.Client {
	return &http.Client{
		Timeout: 2 * time.Minute,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: connections,
			DisableCompression:  true, // the server's work is measured, and zipping is not part of it
			WriteBufferSize:     256 << 10,
		},
	}
}

// poster sends remote_write requests until they are acknowledged.
type poster struct {
	client   *http.Client
	url      string
	protocol workload.Protocol
}

const maxPause = time.Second // between two attempts

// post returns when the server has acknowledged the body's samples, or refused them for
// good. A server that is away, or asks for patience, is asked again.
func (p *poster) post(ctx context.Context, body []byte, samples int) (retries int, err error) {
	pause := 10 * time.Millisecond
	for {
		again, err := p.once(ctx, body, samples)
		if err == nil {
			return retries, nil
		}
		if ctx.Err() != nil {
			return retries, ctx.Err() // and not what the interrupted attempt says
		}
		if !again {
			return retries, err
		}
		retries++
		select {
		case <-ctx.Done():
			return retries, ctx.Err()
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, maxPause)
	}
}

func (p *poster) once(ctx context.Context, body []byte, samples int) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	h := req.Header
	h.Set("User-Agent", "minitruectl")
	h.Set("Content-Encoding", "snappy")
	if p.protocol == workload.V2 {
		h.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		h.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	} else {
		h.Set("Content-Type", "application/x-protobuf")
		h.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return true, err
	}
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode/100 == 5,
			fmt.Errorf("%s answers %s: %s", p.url, resp.Status, bytes.TrimSpace(text))
	}
	if p.protocol == workload.V2 {
		// Without this header the receiver has not understood 2.0, whatever its status.
		written := resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written")
		if n, err := strconv.Atoi(written); err != nil || n != samples {
			return false, fmt.Errorf("%s answers %s and that it wrote %q samples of %d", p.url, resp.Status, written, samples)
		}
	}
	return false, nil
}
