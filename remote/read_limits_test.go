package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/minitrue/minitrue/chunk/series"
)

func TestReadLimits(t *testing.T) {
	m := filled(2, 100)
	rows := []struct {
		name string
		o    ReadOptions
		job  string
		code int
		text string
	}{
		{"within", ReadOptions{MaxSamples: 202}, "x", 200, ""},
		{"samples", ReadOptions{MaxSamples: 201}, "x", 400, "more than 201 samples: ask for less time"},
		{"histograms", ReadOptions{MaxSamples: 201}, "h", 400, "more than 201 samples"},
		{"bytes", ReadOptions{MaxBytes: 1000}, "x", 400, "more than 1000 bytes"},
		{"bytes of histograms", ReadOptions{MaxBytes: 1000}, "h", 400, "more than 1000 bytes"},
	}
	for _, r := range rows {
		w := post(NewReadHandler(m, r.o), readBodyOf(formSamples, selectJob(0, 1e9, r.job)))
		if w.Code != r.code || !strings.Contains(w.Body.String(), r.text) {
			t.Errorf("%s: %d %.100s", r.name, w.Code, w.Body)
		}
		if w := post(NewReadHandler(m, r.o), readBodyOf(formChunks, selectJob(0, 1e9, r.job))); w.Code != 200 {
			t.Errorf("%s, streamed: %d", r.name, w.Code)
		}
	}
}

// A request that gets no turn before its client gives up is a 503.
func TestReadConcurrency(t *testing.T) {
	m := filled(1, 1)
	entered, leave := make(chan struct{}), make(chan struct{})
	m.block = func() { entered <- struct{}{}; <-leave }
	h := NewReadHandler(m, ReadOptions{MaxConcurrent: 1})
	body := readBodyOf(formSamples, selectJob(0, 1e9, "x"))
	codes := make(chan int, 2)
	go func() { codes <- post(h, body).Code }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body)))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	go func() { codes <- post(h, body).Code }() // waits for its turn
	leave <- struct{}{}
	<-entered
	leave <- struct{}{}
	if a, b := <-codes, <-codes; a != 200 || b != 200 {
		t.Errorf("%d, %d", a, b)
	}
}

// What fails before the first byte is an answer; what fails later breaks the connection.
func TestReadSourceErrors(t *testing.T) {
	rows := []struct {
		err  error
		code int
	}{
		{fmt.Errorf("two partitions: %w", series.ErrUnavailable), 503},
		{series.ErrOverload, 429},
		{errors.New("disk on fire"), 500},
	}
	for _, r := range rows {
		m := filled(0, 3)
		m.readErr = r.err
		h := NewReadHandler(m, ReadOptions{})
		for _, form := range [][]prompb.ReadRequest_ResponseType{formSamples, formChunks} {
			w := post(h, readBodyOf(form, selectJob(0, 1e9, "nobody")))
			if w.Code != r.code || !strings.Contains(w.Body.String(), r.err.Error()) {
				t.Errorf("%v: %d %s", r.err, w.Code, w.Body)
			}
		}
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler {
					t.Errorf("%v: recovered %v", r.err, p)
				}
			}()
			post(h, readBodyOf(formChunks, selectJob(0, 1e9, "h")))
		}()
	}
	m := filled(1, 1)
	m.wrap = func(c chunks.Meta) chunks.Meta { c.Chunk = nil; return c }
	if w := post(NewReadHandler(m, ReadOptions{}), readBodyOf(formChunks, selectJob(0, 1e9, "x"))); w.Code != 500 {
		t.Errorf("chunk without data: %d", w.Code)
	}
}

func TestReadHints(t *testing.T) {
	q := &prompb.Query{StartTimestampMs: 5, EndTimestampMs: 9}
	if h := parseHints(q); h.Start != 5 || h.End != 9 {
		t.Errorf("%+v", h)
	}
	q.Hints = &prompb.ReadHints{Func: "rate", StepMs: 1, RangeMs: 2, Grouping: []string{"a"}, By: true}
	if h := parseHints(q); h.Start != 5 || h.End != 9 || h.Func != "rate" || h.Step != 1 || h.Range != 2 || !h.By || !reflect.DeepEqual(h.Grouping, []string{"a"}) {
		t.Errorf("%+v", h)
	}
	q.Hints.StartMs, q.Hints.EndMs = 6, 7
	if h := parseHints(q); h.Start != 6 || h.End != 7 {
		t.Errorf("%+v", h)
	}
}

func TestReadMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := NewReadHandler(filled(1, 10), ReadOptions{Registry: reg})
	post(h, readBodyOf(formSamples, selectJob(0, 1e9, "x")))
	post(h, readBodyOf(formChunks, selectJob(0, 1e9, "x")))
	post(h, nil)
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP minitrue_remote_read_requests_total Requests of remote_read by the form of the answer (samples, chunks) and its status code; aborted: it broke off.
# TYPE minitrue_remote_read_requests_total counter
minitrue_remote_read_requests_total{code="200",form="chunks"} 1
minitrue_remote_read_requests_total{code="200",form="samples"} 1
minitrue_remote_read_requests_total{code="400",form="none"} 1
# HELP minitrue_remote_read_samples_total Samples and histograms in remote_read answers of the form samples.
# TYPE minitrue_remote_read_samples_total counter
minitrue_remote_read_samples_total 11
`), "minitrue_remote_read_requests_total", "minitrue_remote_read_samples_total")
	if err != nil {
		t.Error(err)
	}
}
