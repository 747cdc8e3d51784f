package bench

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Client asks a server one question at a time, on one connection that stays open.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the server with this URL.
func NewClient(base string) *Client { return &Client{base, newClient(1)} }

// Ask returns the answer and how long it took. Any status but 200 is an error.
func (c *Client) Ask(ctx context.Context, q Question) (body []byte, took time.Duration, err error) {
	begin := time.Now()
	body, status, err := q.ask(ctx, c.http, c.base)
	took = time.Since(begin)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("ask %s: status %d: %.300s", q.Name, status, body)
	}
	return body, took, err
}

// Close closes the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Instant is an instant query at a time in milliseconds.
func Instant(name, promql string, at int64) Question {
	return Question{Name: name, Path: "/api/v1/query", Params: instant(promql, at)}
}

// Summarize sums up how long requests took. It sorts them.
func Summarize(ds []time.Duration) Latency { return summarize(ds) }
