package remote

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
)

// A Source is what remote_read answers from: samples for SAMPLES, chunks for
// STREAMED_XOR_CHUNKS. Its errors may wrap [series.ErrUnavailable] (503) or
// [series.ErrOverload] (429); others are a 500.
type Source interface {
	storage.Queryable
	storage.ChunkQueryable
}

// ReadOptions are the limits of a read handler. The zero value is usable.
type ReadOptions struct {
	MaxBody       int64         // bytes of a body, compressed and decompressed; 0 means 1 MiB
	MaxSamples    int           // samples and histograms of one SAMPLES answer; 0 means 50,000,000
	MaxBytes      int           // bytes of one SAMPLES answer before compression; 0 means 1 GiB
	MaxFrame      int           // bytes of labels and chunks after which a frame is sent; 0 means 1 MiB
	MaxConcurrent int           // requests at work; more of them wait; 0 means 10
	RetryAfter    time.Duration // what a client is told to wait before it tries again; 0 means 5s

	Logger   *slog.Logger          // nil discards
	Registry prometheus.Registerer // nil registers nowhere
	Now      func() time.Time      // nil means time.Now
}

func (o ReadOptions) withDefaults() ReadOptions {
	o.MaxBody = orDefault(o.MaxBody, 1<<20)
	o.MaxSamples = orDefault(o.MaxSamples, 50_000_000)
	o.MaxBytes = orDefault(o.MaxBytes, 1<<30)
	o.MaxFrame = orDefault(o.MaxFrame, 1<<20)
	o.MaxConcurrent = orDefault(o.MaxConcurrent, 10)
	o.RetryAfter = orDefault(o.RetryAfter, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

type readHandler struct {
	from    Source
	o       ReadOptions
	gate    chan struct{} // holds one element for every request at work
	metrics *readMetrics
}

// NewReadHandler returns the handler of POST /api/v1/read. The form of the answer is the
// first of the request's accepted_response_types, SAMPLES when there are none.
//
// When a streamed answer fails after its first frame, the handler panics with
// [http.ErrAbortHandler]: the connection breaks, and the client does not take a part for the whole.
func NewReadHandler(s Source, o ReadOptions) http.Handler {
	o = o.withDefaults()
	gate := make(chan struct{}, o.MaxConcurrent)
	return &readHandler{from: s, o: o, gate: gate, metrics: newReadMetrics(o.Registry, gate)}
}

// codeAborted stands in metrics for an answer that broke off.
const codeAborted = "aborted"

func (h *readHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.o.Now()
	form, out := "none", &readWriter{ResponseWriter: w}
	err := h.admit(r)
	if err == nil {
		defer func() { <-h.gate }()
		form, err = h.serve(out, r)
	}
	took := h.o.Now().Sub(start)
	switch {
	case err == nil:
		h.metrics.observe(form, strconv.Itoa(http.StatusOK), out, took)
	case out.started:
		h.metrics.observe(form, codeAborted, out, took)
		h.o.Logger.Warn("broke off a remote_read answer", "from", r.RemoteAddr, "err", err)
		panic(http.ErrAbortHandler)
	default:
		answer := outcomeOf(err)
		h.metrics.observe(form, strconv.Itoa(answer.code), out, took)
		if answer.code == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		refuse(w, r, answer.code, answer.text, h.o.RetryAfter, h.o.Logger)
	}
}

// A readWriter counts what is answered and knows whether something was.
type readWriter struct {
	http.ResponseWriter
	started         bool
	bytes           int
	samples, chunks int
}

func (w *readWriter) Write(b []byte) (int, error) {
	w.started = true // headers may be out even when no byte of b is
	n, err := w.ResponseWriter.Write(b)
	w.bytes += n
	return n, err
}

// admit checks what can be told from the header and waits for its turn.
func (h *readHandler) admit(r *http.Request) error {
	if r.Method != http.MethodPost {
		return &requestError{http.StatusMethodNotAllowed, "remote_read is a POST request"}
	}
	if err := checkReadType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	if err := checkEncoding(r.Header.Get("Content-Encoding")); err != nil {
		return err
	}
	select {
	case h.gate <- struct{}{}:
		return nil
	case <-r.Context().Done():
		return &requestError{http.StatusServiceUnavailable,
			"no turn was free: the server works on " + strconv.Itoa(h.o.MaxConcurrent) + " remote_read requests already"}
	}
}

// serve answers an admitted request and tells in which form.
func (h *readHandler) serve(w *readWriter, r *http.Request) (form string, err error) {
	req, err := h.decode(r)
	if err != nil {
		return "none", err
	}
	qs, err := parseQueries(req.Queries)
	if err != nil {
		return "none", err
	}
	switch accepted(req.AcceptedResponseTypes) {
	case prompb.ReadRequest_STREAMED_XOR_CHUNKS:
		return "chunks", h.stream(r.Context(), w, qs)
	case prompb.ReadRequest_SAMPLES:
		return "samples", h.samples(r.Context(), w, qs)
	}
	return "none", badRequest("none of the accepted response types %v is known: ask for SAMPLES or STREAMED_XOR_CHUNKS", req.AcceptedResponseTypes)
}

// accepted is the first form that this server has, or -1.
func accepted(types []prompb.ReadRequest_ResponseType) prompb.ReadRequest_ResponseType {
	if len(types) == 0 {
		return prompb.ReadRequest_SAMPLES
	}
	for _, t := range types {
		if t == prompb.ReadRequest_SAMPLES || t == prompb.ReadRequest_STREAMED_XOR_CHUNKS {
			return t
		}
	}
	return -1
}

// decode reads a request. Its size is bounded, so its memory needs no account.
func (h *readHandler) decode(r *http.Request) (*prompb.ReadRequest, error) {
	l := lease{from: &budget{max: 1 << 40}}
	body, err := readBody(r, nil, h.o.MaxBody, &l)
	if err != nil {
		return nil, err
	}
	plain, err := decompress(nil, body, h.o.MaxBody, &l)
	if err != nil {
		return nil, err
	}
	req := &prompb.ReadRequest{}
	if err := req.Unmarshal(plain); err != nil {
		return nil, badRequest("malformed protobuf: the body is not a prometheus.ReadRequest: %v", err)
	}
	return req, nil
}

// warn logs what a source had to say beside its answer.
func (h *readHandler) warn(ctx context.Context, warnings []error) {
	if len(warnings) > 0 {
		h.o.Logger.WarnContext(ctx, "warnings of a remote_read query", "err", errors.Join(warnings...))
	}
}
