package aggregate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/chunk"
)

// Source answers with the statistics of all samples of the series that match,
// from mint to maxt, both inclusive and in milliseconds. Series are added by
// chunk.Stats.AddSeries. No matching series is no error.
type Source interface {
	Aggregate(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (chunk.Stats, error)
}

// Options are limits and surroundings. The zero value is usable.
type Options struct {
	DeviceLabel string        // the label that device_id stands for; empty means device_id
	Timeout     time.Duration // of a request, its wait included; 0 means 2m
	Concurrency int           // requests that ask the source at a time; 0 means 64

	Logger     *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: metrics are not registered
	Now        func() time.Time      // nil means time.Now
}

func (o Options) withDefaults() Options {
	if o.DeviceLabel == "" {
		o.DeviceLabel = "device_id"
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Concurrency == 0 {
		o.Concurrency = 64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

const maxBody = 1 << 20 // bytes

// Handler serves POST /query. It is safe for concurrent use.
type Handler struct {
	o        Options
	source   Source
	parser   parser.Parser
	slots    chan struct{} // holds as many values as requests ask the source
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

// NewHandler returns a handler that asks source.
func NewHandler(source Source, o Options) *Handler {
	o = o.withDefaults()
	h := &Handler{
		o: o, source: source,
		parser: parser.NewParser(parser.Options{}),
		slots:  make(chan struct{}, o.Concurrency),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_aggregate_requests_total",
			Help: "Requests to /query, by status code.",
		}, []string{"code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "minitrue_aggregate_duration_seconds",
			Help:    "Time to answer a request to /query that was well formed.",
			Buckets: []float64{.0001, .0005, .001, .005, .025, .1, .5, 2, 10},
		}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(h.requests, h.duration)
	}
	return h
}

// httpError is an error with its status and the field of the request that is to blame.
type httpError struct {
	status int
	field  string // empty: none, or all
	err    error
}

func (e *httpError) Error() string { return e.err.Error() }

func errorf(status int, field, format string, args ...any) *httpError {
	return &httpError{status, field, fmt.Errorf(format, args...)}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.o.Now()
	w.Header().Set("Content-Type", "application/json")
	answer, err := h.serve(w, r, start)
	status := http.StatusOK
	if err != nil {
		status = err.status
		answer = appendError(nil, err)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(status)
	w.Write(answer) // an error here is the client's loss alone
	h.requests.WithLabelValues(strconv.Itoa(status)).Inc()
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, start time.Time) ([]byte, *httpError) {
	body, e := read(w, r)
	if e != nil {
		return nil, e
	}
	q, e := h.parse(body, start)
	if e != nil {
		return nil, e
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.o.Timeout)
	defer cancel()
	stats, err := h.ask(ctx, q)
	took := h.o.Now().Sub(start)
	h.duration.Observe(took.Seconds())
	if err != nil {
		return nil, h.failed(err)
	}
	return q.appendAnswer(make([]byte, 0, 256), &stats, took), nil
}

// read checks what carries the request and returns its body.
func read(w http.ResponseWriter, r *http.Request) ([]byte, *httpError) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, errorf(http.StatusMethodNotAllowed, "", "the method %s is not allowed, use POST", r.Method)
	}
	if t := r.Header.Get("Content-Type"); t != "" {
		// curl -d says that it sends a form unless it is told otherwise.
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" && media != "application/x-www-form-urlencoded" {
			return nil, errorf(http.StatusUnsupportedMediaType, "", "the content type %q is not supported, use application/json", t)
		}
	}
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		return nil, errorf(http.StatusUnsupportedMediaType, "", "the content encoding %q is not supported, send the body as it is", c)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, errorf(http.StatusRequestEntityTooLarge, "", "the body is over %d bytes", maxBody)
	case err != nil:
		return nil, errorf(http.StatusBadRequest, "", "could not read the body: %w", err)
	}
	return body, nil
}

var errBusy = errors.New("too many requests at once, and none ended in time")

// ask asks the source when there is a free slot.
func (h *Handler) ask(ctx context.Context, q *query) (chunk.Stats, error) {
	select {
	case h.slots <- struct{}{}:
	default:
		select {
		case h.slots <- struct{}{}:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return chunk.Stats{}, ctx.Err()
			}
			return chunk.Stats{}, errBusy
		}
	}
	defer func() { <-h.slots }()
	return h.source.Aggregate(ctx, q.mint, q.maxt, q.matchers...)
}

const statusClientClosed = 499 // the client went away first; nginx's number

// failed is the answer to an error of the source.
func (h *Handler) failed(err error) *httpError {
	var unavailable interface{ Unavailable() bool }
	switch {
	case errors.Is(err, errBusy), errors.As(err, &unavailable) && unavailable.Unavailable():
		return &httpError{status: http.StatusServiceUnavailable, err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return errorf(http.StatusServiceUnavailable, "", "the query was not answered within %v", h.o.Timeout)
	case errors.Is(err, context.Canceled):
		return errorf(statusClientClosed, "", "the client went away")
	}
	h.o.Logger.Error("aggregate query failed", "err", err)
	return &httpError{status: http.StatusInternalServerError, err: err}
}
