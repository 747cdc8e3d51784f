package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// balancer passes requests on to one node, as the balancer before a cluster does that takes a node out before it is restarted.
type balancer struct {
	mu    sync.RWMutex // guards to; it is read from the choice of a node until the node has the request
	to    *url.URL
	proxy httputil.ReverseProxy
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.RLock()
	arrived := sync.OnceFunc(b.mu.RUnlock)
	defer arrived()
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { arrived() }}
	b.proxy.ServeHTTP(w, r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
}

// newBalancer returns a balancer and its address.
func newBalancer(t *testing.T) (b *balancer, address string) {
	b = &balancer{}
	b.proxy.Rewrite = func(r *httputil.ProxyRequest) { r.SetURL(b.to) }
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	return b, s.URL
}

// send sends what comes from now on to a node. What was meant for another one has arrived there: on a connection that is idle still when
// that one ends, a request would be lost.
func (b *balancer) send(t *testing.T, n *node) {
	t.Helper()
	to, err := url.Parse(n.url)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to = to
}

// askAll asks until ctx ends, and none of its questions may fail.
func askAll(ctx context.Context, t *testing.T, address, device string) {
	answers := 0
	for ctx.Err() == nil {
		for _, q := range []string{
			"/api/v1/query?query=" + url.QueryEscape(`sum(count_over_time(sequence[2h]))`),
			"/api/v1/query?query=" + url.QueryEscape(`count_over_time(sequence{device_id="`+device+`"}[2h])`),
			"/api/v1/labels",
			"/api/v1/label/device_id/values",
		} {
			if _, err := fetch(address + q); err != nil {
				t.Errorf("a query failed: %v", err)
			}
			answers++
		}
		if _, err := ask(address, device, "sequence", "avg"); err != nil && answers > 100 { // the device may be new
			t.Errorf("POST /query failed: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // and leave the processor to those who write
	}
	if answers == 0 {
		t.Error("nobody asked")
	}
}

// All three nodes are restarted, one after the other and three times, under load: no query fails and no write, and nothing acknowledged is missing.
func TestClusterRollingRestart(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3)
	b, address := newBalancer(t)
	b.send(t, nodes[0])
	tr := startTraffic(t, nodes, 5_000, 20*time.Millisecond, address)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	tr.wg.Go(func() { askAll(ctx, t, address, tr.writers[0].device) })
	for i := range 3 * len(nodes) {
		n := nodes[i%len(nodes)]
		b.send(t, nodes[(i+1)%len(nodes)])
		if code := n.Stop(t); code != 0 {
			t.Errorf("%s ended with %d", n.url, code)
		}
		n.start(t)
		untilActive(t, nodes, 3)
	}
	stop()
	tr.check(t, nodes)
	if n := tr.load.report.Retries; n != 0 {
		t.Errorf("%d writes were refused", n)
	}
	untilEqual(t, nodes)
}
