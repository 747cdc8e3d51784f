package repair

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/minitrue/minitrue/shard"
)

// Poster sends requests to peers; an answer that is not 2xx is an error.
type Poster interface {
	Post(ctx context.Context, m shard.Member, path string, body []byte, header http.Header) (*http.Response, error)
}

// Mux takes handlers of requests from peers.
type Mux interface {
	Handle(path string, h http.Handler)
}

// The paths of the questions.
const (
	pathTree   = "/peer/v1/tree"   // sums, leaves and pieces
	pathSeries = "/peer/v1/series" // digests of series
	pathCopied = "/peer/v1/copied"
)

const (
	maxQuestion = 4 << 10  // bytes
	maxAnswer   = 32 << 20 // bytes
)

func path(k Kind) string {
	switch k {
	case Series:
		return pathSeries
	case Copied:
		return pathCopied
	}
	return pathTree
}

// Client is the [Exchange] over HTTP.
type Client struct {
	post  Poster
	bytes *prometheus.CounterVec
}

// NewClient returns a client; a nil registerer counts unseen.
func NewClient(p Poster, r prometheus.Registerer) *Client {
	return &Client{p, promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_repair_exchanged_bytes_total",
		Help: "Bytes of the questions that this node asked its peers and of their answers, without HTTP headers and samples, by direction.",
	}, []string{"direction"})}
}

// Ask implements [Exchange].
func (c *Client) Ask(ctx context.Context, m shard.Member, q Question) (*Answer, error) {
	body := q.AppendTo(nil)
	c.bytes.WithLabelValues("sent").Add(float64(len(body)))
	resp, err := c.post.Post(ctx, m, path(q.Kind), body, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	c.bytes.WithLabelValues("received").Add(float64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return AnswerFromBytes(b, q)
}

// Register adds the handlers by which peers ask this node. They answer whatever ring the peer knows.
func (r *Repairer) Register(mux Mux) {
	for _, path := range []string{pathTree, pathSeries, pathCopied} {
		mux.Handle(path, http.HandlerFunc(r.serve))
	}
}

func (r *Repairer) serve(w http.ResponseWriter, req *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxQuestion))
	if err != nil {
		http.Error(w, "read the question: "+err.Error(), http.StatusBadRequest)
		return
	}
	q, err := QuestionFromBytes(b)
	if err != nil || path(q.Kind) != req.URL.Path {
		http.Error(w, fmt.Sprintf("a question that cannot be answered here: %v", err), http.StatusBadRequest)
		return
	}
	a, err := r.Answer(req.Context(), q)
	if err != nil {
		r.o.Logger.Warn("cannot answer a peer", "peer", q.From, "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(a.AppendTo(nil)) // a peer that does not get it asks again
}
