package aggregate

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/chunk/series"
)

// Deleter deletes the samples of the series that match, from mint to maxt, both inclusive and in milliseconds, and returns
// how many series had any.
type Deleter interface {
	Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (series int, err error)
}

// NewDeleteHandler returns a handler of POST /delete. Its body is that of /query without an operation: it deletes the
// samples that a query with the same fields is about, and answers with how many series had any. What a browser sends
// for a page of another site is refused.
func NewDeleteHandler(d Deleter, o Options) http.Handler {
	h := &Handler{o: o.withDefaults(), parser: parser.NewParser(parser.Options{})}
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, e := h.delete(w, r, d)
		if e != nil {
			if e.status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "5")
			}
			answer = appendError(nil, e)
			w.WriteHeader(e.status)
		}
		w.Write(answer) // an error here is the client's loss alone
	}))
}

func (h *Handler) delete(w http.ResponseWriter, r *http.Request, d Deleter) ([]byte, *httpError) {
	body, e := read(w, r)
	if e != nil {
		return nil, e
	}
	now := h.o.Now()
	q := &query{mint: minTime, maxt: now.UnixMilli()}
	if e := q.decode(body, now); e != nil {
		return nil, e
	}
	switch {
	case len(q.operations) > 0:
		return nil, errorf(http.StatusBadRequest, "operation", "operation is a field of /query; this deletes")
	case q.mint > q.maxt:
		return nil, errorf(http.StatusBadRequest, "start_time", "start_time %s is after end_time %s", stamp(q.mint), stamp(q.maxt))
	}
	if e := h.match(q); e != nil {
		return nil, e
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.o.Timeout)
	defer cancel()
	n, err := d.Delete(ctx, q.mint, q.maxt, q.matchers...)
	switch {
	case errors.Is(err, series.ErrUnavailable), errors.Is(err, series.ErrOverload):
		return nil, &httpError{status: http.StatusServiceUnavailable, err: err}
	case err != nil:
		return nil, h.failed(err)
	}
	h.o.Logger.Info("samples were deleted by request", "matchers", q.matchers, "start", stamp(max(q.mint, 0)), "end", stamp(q.maxt), "series", n)
	answer, err := json.Marshal(struct {
		Series int `json:"series"`
	}{n})
	if err != nil {
		return nil, h.failed(err)
	}
	return append(answer, '\n'), nil
}
