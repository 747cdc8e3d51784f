package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/promql/aggregate"
)

type downError struct{}

func (downError) Error() string     { return "node n2 does not answer" }
func (downError) Unavailable() bool { return true }

func TestSourceErrors(t *testing.T) {
	reg := prometheus.NewRegistry()
	k := &known{}
	h := aggregate.NewHandler(k, aggregate.Options{Registerer: reg})
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{errors.New("block 7 is damaged"), 500, "block 7"},
		{fmt.Errorf("ask: %w", downError{}), 503, "n2"},
		{context.DeadlineExceeded, 503, "within 2m0s"},
		{context.Canceled, 499, "went away"},
	} {
		k.err = c.err
		w := post(h, `{"metric_name":"m","operation":"avg"}`)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) || (w.Header().Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
	}
	want := `
		# HELP minitrue_aggregate_requests_total Requests to /query, by status code.
		# TYPE minitrue_aggregate_requests_total counter
		minitrue_aggregate_requests_total{code="499"} 1
		minitrue_aggregate_requests_total{code="500"} 1
		minitrue_aggregate_requests_total{code="503"} 2
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "minitrue_aggregate_requests_total"); err != nil {
		t.Error(err)
	}
}

// slow answers when it is told to, or when the context ends.
type slow struct{ asked, answer chan struct{} }

func (s slow) Aggregate(ctx context.Context, _, _ int64, _ ...*labels.Matcher) (chunk.Stats, error) {
	s.asked <- struct{}{}
	select {
	case <-s.answer:
		return chunk.NoStats(), nil
	case <-ctx.Done():
		return chunk.Stats{}, ctx.Err()
	}
}

func TestLimits(t *testing.T) {
	const body = `{"metric_name":"m","operation":"avg"}`
	s := slow{make(chan struct{}, 10), make(chan struct{})}
	h := aggregate.NewHandler(s, aggregate.Options{Timeout: 30 * time.Millisecond, Concurrency: 1})
	if w := post(h, body); w.Code != 503 || !strings.Contains(w.Body.String(), "within 30ms") {
		t.Errorf("too slow: %d %s", w.Code, w.Body)
	}
	<-s.asked

	h = aggregate.NewHandler(s, aggregate.Options{Concurrency: 1})
	first := make(chan int)
	go func() { first <- post(h, body).Code }()
	<-s.asked // it has the slot
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r := httptest.NewRequest("POST", "/query", strings.NewReader(body)).WithContext(ctx)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 503 || !strings.Contains(w.Body.String(), "too many requests") {
		t.Errorf("over the limit: %d %s", w.Code, w.Body)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	w = httptest.NewRecorder()
	r = httptest.NewRequest("POST", "/query", strings.NewReader(body)).WithContext(gone)
	if h.ServeHTTP(w, r); w.Code != 499 {
		t.Errorf("gone while waiting: %d %s", w.Code, w.Body)
	}
	s.answer <- struct{}{}
	if code := <-first; code != 200 {
		t.Errorf("within the limit: %d", code)
	}
}
