package peer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/minitrue/minitrue/shard"
)

// ClientOptions of a client. The zero value is usable.
type ClientOptions struct {
	Self       string                // id of this node
	Secret     []byte                // what all nodes share; nil means none
	TLS        *tls.Config           // nil means plain TCP
	Epoch      func() uint64         // of this node's ring; nil means 0
	Deletes    func() uint64         // a digest of the deletes that this node has applied; nil means 0
	Timeout    time.Duration         // until an answer begins; 0 means 30s. A context may end sooner
	Now        func() time.Time      // nil means time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
}

func (o ClientOptions) withDefaults() ClientOptions {
	if o.Epoch == nil {
		o.Epoch = func() uint64 { return 0 }
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Deletes == nil {
		o.Deletes = func() uint64 { return 0 }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Client asks other nodes. Its methods may be called from many goroutines.
type Client struct {
	o        ClientOptions
	scheme   string
	by       *http.Transport
	links    links
	requests *prometheus.CounterVec
	sent     *prometheus.CounterVec
	received *prometheus.CounterVec
	skews    sync.Map // address → time.Duration: how far a node's clock is ahead, where it is too far for its answers
}

const (
	dialTimeout = 3 * time.Second
	idleConns   = 64 // to each peer
)

// NewClient returns a client. It connects when it is asked to.
func NewClient(o ClientOptions) *Client {
	o = o.withDefaults()
	f := promauto.With(o.Registerer)
	c := &Client{o: o, scheme: "http", by: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       o.TLS,
		TLSHandshakeTimeout:   dialTimeout,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: o.Timeout,
		DisableCompression:    true,
		WriteBufferSize:       64 << 10,
	}}
	c.links = links{tls: o.TLS, timeout: o.Timeout}
	if o.TLS != nil {
		c.scheme = "https"
	}
	c.requests = f.NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_peer_requests_total",
		Help: "Requests to other nodes, by path and by the code of the answer; code 0 means that there was none.",
	}, []string{"path", "code"})
	c.sent = f.NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_peer_sent_bytes_total",
		Help: "Bytes of the bodies of requests to other nodes, by path.",
	}, []string{"path"})
	c.received = f.NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_peer_received_bytes_total",
		Help: "Bytes of the bodies of other nodes' answers, as far as they were read, by path.",
	}, []string{"path"})
	return c
}

// counted is a body whose bytes are counted as they are read.
type counted struct {
	io.ReadCloser
	bytes prometheus.Counter
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.bytes.Add(float64(n))
	return n, err
}

// Close closes the connections that nobody uses.
func (c *Client) Close() {
	c.by.CloseIdleConnections()
	c.links.CloseIdleConnections()
}

// Post sends a request to a node. The path may have a query. An answer 2xx is returned, and the caller closes its Body; any other
// is a [*StatusError], which is [ErrStale] when the node knows another ring. The caller does not change the body before the answer has
// been read to its end, and never after an error: the connection may not have let go of it. A request may reach the node twice.
func (c *Client) Post(ctx context.Context, m shard.Member, path string, body []byte, header http.Header) (*http.Response, error) {
	return c.askTwice(ctx, c.by, m, path, body, header)
}

// Write is Post for requests of which there are very many, and which have short answers: it returns the body of the answer.
func (c *Client) Write(ctx context.Context, m shard.Member, path string, body []byte, header http.Header) ([]byte, error) {
	resp, err := c.askTwice(ctx, &c.links, m, path, body, header)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(resp.Body)
}

// askTwice asks again when the first answer says that the clocks differ.
func (c *Client) askTwice(ctx context.Context, by http.RoundTripper, m shard.Member, path string, body []byte, header http.Header) (*http.Response, error) {
	for again := false; ; again = true {
		resp, err := c.post(ctx, by, m, path, body, header)
		var skewed *skewError
		if errors.As(err, &skewed) && !again {
			c.skews.Store(m.Peer, skewed.skew)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("post %s to node %s: %w", path, name(m), err)
		}
		return resp, nil
	}
}

func (c *Client) post(ctx context.Context, by http.RoundTripper, m shard.Member, path string, body []byte, header http.Header) (*http.Response, error) {
	r, err := c.request(ctx, m, path, body, header)
	if err != nil {
		return nil, err
	}
	c.sent.WithLabelValues(r.URL.Path).Add(float64(len(body)))
	resp, err := by.RoundTrip(r)
	code := 0
	if err == nil {
		code = resp.StatusCode
		err = c.check(r, resp, m)
	}
	c.requests.WithLabelValues(r.URL.Path, strconv.Itoa(code)).Inc()
	if err != nil {
		return nil, err
	}
	resp.Body = counted{resp.Body, c.received.WithLabelValues(r.URL.Path)}
	return resp, nil
}

// skewError is the answer of a node whose clock is skew ahead.
type skewError struct {
	*StatusError
	skew time.Duration
}

func (e *skewError) Unwrap() error { return e.StatusError }

// Hello asks a node for a sign of life: nil means that the two believe each other.
func (c *Client) Hello(ctx context.Context, m shard.Member) error {
	resp, err := c.Post(ctx, m, pathHello, nil, nil)
	var se *StatusError
	if errors.As(err, &se) && se.Code == http.StatusNotFound {
		return nil // it is older than the question, and has let it in
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (c *Client) request(ctx context.Context, m shard.Member, path string, body []byte, header http.Header) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.scheme+"://"+m.Peer+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	// Sent again on a new connection when an idle one turns out to be dead: whatever nodes ask can be asked twice. The header itself is not sent.
	r.Header["Idempotency-Key"] = nil
	r.Header.Set(headerProtocol, strconv.Itoa(Protocol))
	r.Header.Set(headerNode, c.o.Self)
	r.Header.Set(headerEpoch, formatEpoch(c.o.Epoch()))
	if d := c.o.Deletes(); d != 0 {
		r.Header.Set(headerDeletes, formatEpoch(d))
	}
	if c.o.Secret != nil {
		now := c.o.Now()
		if skew, ok := c.skews.Load(m.Peer); ok {
			now = now.Add(skew.(time.Duration))
		}
		stamp(r, c.o.Secret, body, now)
	}
	return r, nil
}

// maxText is how much of an answer that is an error is read.
const maxText = 4 << 10

// check makes an error of an answer that is none, or not a peer's, and closes it then.
func (c *Client) check(r *http.Request, resp *http.Response, m shard.Member) error {
	good := resp.StatusCode >= 200 && resp.StatusCode <= 299
	proven := c.o.Secret == nil || hmac.Equal([]byte(resp.Header.Get(headerAuth)), []byte(prove(c.o.Secret, r.Header.Get(headerNonce))))
	if good && proven {
		return nil
	}
	defer resp.Body.Close()
	if good {
		return errors.New("it answers without a proof that it knows the cluster key: it is no node of this cluster")
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxText))
	se := &StatusError{Code: resp.StatusCode, Text: strings.ToValidUTF8(strings.TrimSpace(string(text)), "�"), Peer: name(m)}
	if t, ok := peerTime(r, resp, c.o.Secret); ok && c.o.Secret != nil {
		return &skewError{se, t.Sub(c.o.Now())}
	}
	return se
}

// name is what people call a node.
func name(m shard.Member) string { return cmp.Or(m.Name, m.ID, m.Peer) }
