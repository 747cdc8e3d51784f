package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/series"
)

// An Appender stores what remote_write brings. Append returns when the batch is durable
// and has marked in b.Rejected what of it cannot be stored. An error means that the
// sender shall try again: [series.ErrUnavailable] is a 503, [series.ErrOverload] a 429,
// anything else a 500. The batch and all that it points to belong to the
// caller again when Append returns, but for strings, histograms and exemplar labels.
type Appender interface {
	Append(ctx context.Context, b *series.Batch) error
}

// WriteOptions are the limits of a write handler. The zero value is usable.
type WriteOptions struct {
	MaxBody     int64         // bytes of a compressed body; 0 means 32 MiB
	MaxDecoded  int64         // bytes of a decompressed body; 0 means 128 MiB
	MaxInFlight int64         // bytes of memory that all requests together may hold; 0 means 512 MiB
	RetryAfter  time.Duration // what a sender is told to wait before it tries again; 0 means 5s

	Logger   *slog.Logger          // nil discards
	Registry prometheus.Registerer // nil registers nowhere
	Now      func() time.Time      // nil means time.Now
}

func (o WriteOptions) withDefaults() WriteOptions {
	o.MaxBody = orDefault(o.MaxBody, 32<<20)
	o.MaxDecoded = orDefault(o.MaxDecoded, 128<<20)
	o.MaxInFlight = orDefault(o.MaxInFlight, 512<<20)
	o.RetryAfter = orDefault(o.RetryAfter, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func orDefault[T ~int | ~int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Headers of every answer to a remote_write request.
const (
	headerSamples    = "X-Prometheus-Remote-Write-Samples-Written"
	headerHistograms = "X-Prometheus-Remote-Write-Histograms-Written"
	headerExemplars  = "X-Prometheus-Remote-Write-Exemplars-Written"
)

type writeHandler struct {
	*Decoder
	to Appender
}

// NewWriteHandler returns the handler of POST /api/v1/write for both versions of
// remote_write. It answers 204 when all was stored; 400 when something can
// never be stored, after the rest was, with counts and the first reasons in the body;
// 413 and 415 as HTTP has them; 429, 500 or 503 when nothing is known to be stored and
// the sender shall try again.
func NewWriteHandler(a Appender, o WriteOptions) http.Handler {
	return &writeHandler{NewDecoder(o), a}
}

// An outcome is what a request is answered.
type outcome struct {
	code    int
	text    string // for a person; none with 204
	written counts
}

func (h *writeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.o.Now()
	version, out := h.serve(r)
	h.metrics.observe(version, out, h.o.Now().Sub(start))
	header := w.Header()
	header.Set(headerSamples, strconv.Itoa(out.written.samples))
	header.Set(headerHistograms, strconv.Itoa(out.written.histograms))
	header.Set(headerExemplars, strconv.Itoa(out.written.exemplars))
	switch out.code {
	case http.StatusNoContent:
		w.WriteHeader(out.code)
		return
	case http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodPost)
	}
	refuse(w, r, out.code, out.text, h.o.RetryAfter, h.o.Logger)
}

// refuse answers with an error and logs it.
func refuse(w http.ResponseWriter, r *http.Request, code int, text string, retryAfter time.Duration, log *slog.Logger) {
	level := slog.LevelDebug // what a sender does wrong, it does again and again
	if code >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	log.Log(r.Context(), level, "refused a request", "path", r.URL.Path, "from", r.RemoteAddr, "code", code, "err", text)
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(retryAfter.Seconds()))))
	}
	http.Error(w, text, code)
}

// serve does all but the answering.
func (h *writeHandler) serve(r *http.Request) (version string, out outcome) {
	if r.Method != http.MethodPost {
		return versionNone, outcome{code: http.StatusMethodNotAllowed, text: "remote_write is a POST request"}
	}
	version, err := writeVersion(r.Header.Get("Content-Type"))
	if err == nil {
		err = checkEncoding(r.Header.Get("Content-Encoding"))
	}
	if err != nil {
		return version, outcomeOf(err)
	}
	q, err := h.decode(r, version)
	if err != nil {
		return version, outcomeOf(err)
	}
	done := false
	defer func() {
		if done {
			h.give(q)
		} else { // a panic left the memory in other hands
			q.lease.release()
		}
	}()
	out = h.append(r.Context(), &q.decoder)
	done = true
	return version, out
}

// append hands the batch on and judges the result.
func (h *writeHandler) append(ctx context.Context, d *decoder) outcome {
	b := &d.batch
	if len(b.Series)+len(b.Metadata) > 0 {
		if err := h.to.Append(ctx, b); err != nil {
			return outcomeOf(err)
		}
	}
	rej := &b.Rejected
	out := outcome{code: http.StatusNoContent, written: counts{
		d.sent.samples - rej.Samples, d.sent.histograms - rej.Histograms, d.sent.exemplars - rej.Exemplars}}
	if rej.Any() {
		out.code, out.text = http.StatusBadRequest, partialText(d.sent, rej)
		h.metrics.reject(rej)
	}
	return out
}

// outcomeOf is the answer to a request of which nothing is known to be stored.
func outcomeOf(err error) outcome {
	out := outcome{code: http.StatusInternalServerError, text: err.Error()}
	var re *requestError
	switch {
	case errors.As(err, &re):
		out.code = re.code
	case errors.Is(err, series.ErrOverload):
		out.code = http.StatusTooManyRequests
	case errors.Is(err, series.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		out.code = http.StatusServiceUnavailable
	}
	return out
}

// partialText says what of a request was not stored and why.
func partialText(sent counts, rej *series.Rejected) string {
	var s strings.Builder
	fmt.Fprintf(&s, "refused %d of %d samples, %d of %d histograms and %d of %d exemplars; the rest was stored. Do not send the refused ones again. The first reasons:",
		rej.Samples, sent.samples, rej.Histograms, sent.histograms, rej.Exemplars, sent.exemplars)
	for _, err := range rej.Errs {
		s.WriteString("\n- ")
		s.WriteString(err.Error())
	}
	return s.String()
}
