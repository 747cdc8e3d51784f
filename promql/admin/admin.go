package admin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql/cost"
)

// Store is what is administered.
type Store interface {
	Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (series int, err error)
	Snapshot(ctx context.Context, name string) (dir string, err error)
	Flush(ctx context.Context) error
	CompactAll(ctx context.Context) error
}

// Options are a handler's surroundings. The zero value is usable.
type Options struct {
	Logger *slog.Logger     // nil: none
	Now    func() time.Time // nil means time.Now
}

// Handler serves /api/v1/admin/tsdb. It is safe for concurrent use.
type Handler struct {
	o      Options
	store  Store
	parser parser.Parser
}

// NewHandler returns a handler for a store.
func NewHandler(s Store, o Options) *Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Handler{o: o, store: s, parser: parser.NewParser(parser.Options{})}
}

// Register adds the handler's paths to a mux.
func (h *Handler) Register(mux *http.ServeMux) {
	guard := http.NewCrossOriginProtection()
	both, post := []string{http.MethodPost, http.MethodPut}, []string{http.MethodPost}
	for _, r := range []struct {
		name    string
		methods []string
		serve   func(*http.Request) (any, error)
	}{
		{"delete_series", both, h.deleteSeries},
		{"clean_tombstones", both, h.compact},
		{"snapshot", both, h.snapshot},
		{"flush", post, func(r *http.Request) (any, error) { return nil, h.store.Flush(r.Context()) }},
		{"compact", post, h.compact},
	} {
		for _, m := range r.methods {
			mux.Handle(m+" /api/v1/admin/tsdb/"+r.name, guard.Handler(h.wrap(r.name, r.serve)))
		}
	}
}

// wrap answers in Prometheus's form.
func (h *Handler) wrap(name string, serve func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := serve(r)
		if err == nil && data == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		code := http.StatusOK
		answer := map[string]any{"status": "success", "data": data}
		if err != nil {
			typ := "internal"
			var bad *badRequest
			switch code = http.StatusInternalServerError; {
			case errors.As(err, &bad):
				code, typ = http.StatusBadRequest, "bad_data"
			case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
				code, typ = http.StatusServiceUnavailable, "timeout"
			case errors.Is(err, series.ErrUnavailable), errors.Is(err, series.ErrOverload):
				code, typ = http.StatusServiceUnavailable, "unavailable"
				w.Header().Set("Retry-After", "5")
			}
			answer = map[string]any{"status": "error", "errorType": typ, "error": err.Error()}
			h.o.Logger.Warn("an administrative request failed", "request", name, "err", err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(answer) // the client is gone
	})
}

type badRequest struct{ error }

func (e *badRequest) Unwrap() error { return e.error }

func badf(format string, args ...any) error { return &badRequest{fmt.Errorf(format, args...)} }

func (h *Handler) compact(r *http.Request) (any, error) { return nil, h.store.CompactAll(r.Context()) }

func (h *Handler) snapshot(r *http.Request) (any, error) {
	name := fmt.Sprintf("%s-%016x", h.o.Now().UTC().Format("20060102T150405Z0700"), randomBytes())
	dir, err := h.store.Snapshot(r.Context(), name)
	if err != nil {
		return nil, err
	}
	return map[string]string{"name": filepath.Base(dir)}, nil
}

func randomBytes() []byte {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return b
}

// The whole of time, as Prometheus's API and its clients have it, who send its ends as seconds or as text that no parser takes.
const (
	minTime = (math.MinInt64/1000 + 62135596801) * 1000
	maxTime = (math.MaxInt64/1000 - 62135596801) * 1000

	minTimeText = "-292273086-05-16T16:47:06Z"
	maxTimeText = "292277025-08-18T07:12:54.999999999Z"
)

func (h *Handler) deleteSeries(r *http.Request) (any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, badf("error parsing form values: %w", err)
	}
	if len(r.Form["match[]"]) == 0 {
		return nil, badf("no match[] parameter provided")
	}
	start, err := timeParam(r, "start", minTime)
	if err != nil {
		return nil, err
	}
	end, err := timeParam(r, "end", maxTime)
	if err != nil {
		return nil, err
	}
	var sets [][]*labels.Matcher
	for _, s := range r.Form["match[]"] {
		if err := cost.Text(s); err != nil {
			return nil, badf("invalid parameter %q: %w", "match[]", err)
		}
		ms, err := h.parser.ParseMetricSelector(s)
		if err != nil {
			return nil, badf("invalid parameter %q: %w", "match[]", err)
		}
		if !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches("") }) {
			return nil, badf("invalid parameter %q: %s selects everything; name a metric or a label value", "match[]", s)
		}
		sets = append(sets, ms)
	}
	if start > end {
		return nil, nil // nothing is in it
	}
	for _, ms := range sets {
		if _, err := h.store.Delete(r.Context(), start, end, ms...); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// timeParam reads seconds, whole or fractional, or RFC 3339, as ms.
func timeParam(r *http.Request, name string, otherwise int64) (int64, error) {
	s := r.FormValue(name)
	switch s {
	case "":
		return otherwise, nil
	case minTimeText:
		return minTime, nil
	case maxTimeText:
		return maxTime, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) <= maxTime/1000 {
		return int64(math.Round(f * 1000)), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, badf("invalid parameter %q: cannot parse %q to a valid timestamp", name, s)
	}
	return t.UnixMilli(), nil
}
