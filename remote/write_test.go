package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/chunk/series"
)

const (
	contentV1 = "application/x-protobuf"
	contentV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

// post sends a body as it is; header holds names and values in turn.
func post(h http.Handler, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func postV1(h http.Handler, message []byte) *httptest.ResponseRecorder {
	return post(h, snappy.Encode(nil, message), "Content-Type", contentV1, "Content-Encoding", "snappy")
}

func postV2(h http.Handler, message []byte) *httptest.ResponseRecorder {
	return post(h, snappy.Encode(nil, message), "Content-Type", contentV2, "Content-Encoding", "snappy")
}

// written reads the three headers.
func written(w *httptest.ResponseRecorder) string {
	return strings.Join([]string{w.Header().Get(headerSamples), w.Header().Get(headerHistograms), w.Header().Get(headerExemplars)}, " ")
}

// one is a request with one sample, in both versions.
var (
	oneV1 = field(1, label("__name__", "up"), appendSample(nil, 5, 7))
	oneV2 = slices.Concat(field(4), field(4, []byte("__name__")), field(4, []byte("up")), field(5, field(1, []byte{1, 2}), appendSample(nil, 5, 7)))
)

func TestWriteNegotiation(t *testing.T) {
	one := snappy.Encode(nil, oneV1)
	two := snappy.Encode(nil, oneV2)
	rows := []struct {
		name, contentType, encoding string
		body                        []byte
		code                        int
		text                        string
	}{
		{"1.0", contentV1, "snappy", one, 204, ""},
		{"1.0 named", "application/x-protobuf;proto=prometheus.WriteRequest", "snappy", one, 204, ""},
		{"1.0 without headers", "", "", one, 204, ""},
		{"spaces and quotes", `Application/X-Protobuf; charset=utf-8; proto="prometheus.WriteRequest"`, "Snappy", one, 204, ""},
		{"2.0", contentV2, "snappy", two, 204, ""},
		{"2.0 with a space", "application/x-protobuf; proto=io.prometheus.write.v2.Request", "snappy", two, 204, ""},
		{"unknown message", "application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", one, 415, "io.prometheus.write.v2.Request for 2.0"},
		{"JSON", "application/json", "snappy", one, 415, "application/x-protobuf"},
		{"no media type", ";;;", "snappy", one, 415, "content type"},
		{"gzip", contentV1, "gzip", one, 415, "send snappy"},
		{"zstd", contentV2, "zstd", two, 415, "send snappy"},
		{"2.0 said to be 1.0", contentV1, "snappy", two, 400, "content type"},
		{"1.0 said to be 2.0", contentV2, "snappy", one, 400, "content type"},
	}
	for _, r := range rows {
		m := newMemory()
		var header []string
		if r.contentType != "" {
			header = append(header, "Content-Type", r.contentType)
		}
		if r.encoding != "" {
			header = append(header, "Content-Encoding", r.encoding)
		}
		w := post(NewWriteHandler(m, WriteOptions{}), r.body, header...)
		if w.Code != r.code || !strings.Contains(w.Body.String(), r.text) {
			t.Errorf("%s: %d %s", r.name, w.Code, w.Body)
		}
		want, stored := "0 0 0", 0
		if r.code == 204 {
			want, stored = "1 0 0", 1
		}
		if written(w) != want || len(m.series) != stored {
			t.Errorf("%s: written %s, %d series stored", r.name, written(w), len(m.series))
		}
	}
}

func TestWriteMethod(t *testing.T) {
	h := NewWriteHandler(newMemory(), WriteOptions{})
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

// What the store says decides what the sender hears.
func TestWriteErrors(t *testing.T) {
	rows := []struct {
		err   error
		code  int
		retry string
	}{
		{nil, 204, ""},
		{series.ErrUnavailable, 503, "5"},
		{fmt.Errorf("append: %w", series.ErrOverload), 429, "5"},
		{context.Canceled, 503, "5"},
		{context.DeadlineExceeded, 503, "5"},
		{errors.New("disk on fire"), 500, ""},
	}
	for _, r := range rows {
		m := newMemory()
		m.err = r.err
		w := postV2(NewWriteHandler(m, WriteOptions{}), oneV2)
		if w.Code != r.code || w.Header().Get("Retry-After") != r.retry {
			t.Errorf("%v: %d, retry after %q", r.err, w.Code, w.Header().Get("Retry-After"))
		}
		if r.err != nil && (written(w) != "0 0 0" || !strings.Contains(w.Body.String(), r.err.Error())) {
			t.Errorf("%v: written %s, %s", r.err, written(w), w.Body)
		}
	}
}

func TestWritePartial(t *testing.T) {
	sample := appendSample(nil, 5, 7)
	exemplar := field(3, field(1, field(1, []byte("id")), field(2, []byte("x"))))
	badHistogram := field(4, []byte{0x08, 9})
	message := slices.Concat(
		field(1, label("__name__", "good"), sample, sample, exemplar),
		field(1, label("__name__", "b"), label("z", "x"), label("a", "unsorted"), sample, sample, sample, exemplar),
		field(1, label("job", "nameless"), sample),
		field(1, label("__name__", "h"), badHistogram, field(4)),
		field(1, label("__name__", "nothing")),
	)
	m := newMemory()
	reg := prometheus.NewRegistry()
	w := postV1(NewWriteHandler(m, WriteOptions{Registry: reg}), message)
	if w.Code != 400 || written(w) != "2 1 1" {
		t.Fatalf("%d, written %s: %s", w.Code, written(w), w.Body)
	}
	for _, text := range []string{"refused 4 of 6 samples, 1 of 2 histograms and 1 of 2 exemplars", "labels must be sorted", "__name__", "observations"} {
		if !strings.Contains(w.Body.String(), text) {
			t.Errorf("the answer does not say %q: %s", text, w.Body)
		}
	}
	if all := m.all(); len(all) != 2 || len(m.exemplars) != 1 {
		t.Errorf("%d series stored", len(all))
	}
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP minitrue_remote_write_requests_total Requests of remote_write by its version and the status code of the answer.
# TYPE minitrue_remote_write_requests_total counter
minitrue_remote_write_requests_total{code="400",version="1.0"} 1
# HELP minitrue_remote_write_written_total What remote_write stored, by kind: sample, histogram, exemplar.
# TYPE minitrue_remote_write_written_total counter
minitrue_remote_write_written_total{kind="exemplar"} 1
minitrue_remote_write_written_total{kind="histogram"} 1
minitrue_remote_write_written_total{kind="sample"} 2
# HELP minitrue_remote_write_in_flight_bytes Memory that remote_write requests in flight hold.
# TYPE minitrue_remote_write_in_flight_bytes gauge
minitrue_remote_write_in_flight_bytes 0
`), "minitrue_remote_write_requests_total", "minitrue_remote_write_written_total", "minitrue_remote_write_in_flight_bytes")
	if err != nil {
		t.Error(err)
	}
}

// The bits of every value arrive, through pooled memory and in both versions.
func TestWriteKeepsBits(t *testing.T) {
	m := newMemory()
	h := NewWriteHandler(m, WriteOptions{})
	symbols := slices.Concat(field(4), field(4, []byte("__name__")), field(4, []byte("up")))
	for i, v := range values {
		for _, at := range times {
			s := appendSample(nil, at, v)
			if w := postV1(h, field(1, label("__name__", "up"), s)); w.Code != 204 {
				t.Fatalf("%v at %d: %d %s", v, at, w.Code, w.Body)
			}
			if w := postV2(h, slices.Concat(symbols, field(5, field(1, []byte{1, 2}), s))); w.Code != 204 {
				t.Fatalf("%v at %d: %d %s", v, at, w.Code, w.Body)
			}
			got := m.series[string(label("__name__", "up"))].samples[at].(float64)
			if math.Float64bits(got) != math.Float64bits(v) {
				t.Errorf("value %d: %x became %x", i, math.Float64bits(v), math.Float64bits(got))
			}
		}
	}
}

func TestWriteLimits(t *testing.T) {
	m := newMemory()
	h := NewWriteHandler(m, WriteOptions{MaxBody: 1000, MaxDecoded: 10_000})
	if w := post(h, make([]byte, 1001)); w.Code != 413 || !strings.Contains(w.Body.String(), "1000 bytes") {
		t.Errorf("large body: %d %s", w.Code, w.Body)
	}
	if w := postV1(h, make([]byte, 10_001)); w.Code != 413 || !strings.Contains(w.Body.String(), "10000 bytes") {
		t.Errorf("large message: %d %s", w.Code, w.Body)
	}
	// Without a Content-Length the body is counted as it comes.
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(bytes.NewReader(make([]byte, 700)), bytes.NewReader(make([]byte, 700))))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 413 {
		t.Errorf("large body without length: %d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(io.ErrUnexpectedEOF))
	w = httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 400 || !strings.Contains(w.Body.String(), "ends early") {
		t.Errorf("body that breaks off: %d %s", w.Code, w.Body)
	}
	if m.appends != 0 {
		t.Error("something was appended")
	}
}

// Requests beyond the memory for all of them are told to come again, and the memory is given back.
func TestWriteInFlight(t *testing.T) {
	m := newMemory()
	entered, leave := make(chan struct{}), make(chan struct{})
	m.block = sync.OnceFunc(func() { close(entered); <-leave })
	h := NewWriteHandler(m, WriteOptions{MaxInFlight: 16 << 10}).(*writeHandler)
	codes := make(chan int)
	go func() { codes <- postV1(h, oneV1).Code }()
	<-entered
	large := field(1, label("__name__", "up"), slices.Repeat(appendSample(nil, 5, 7), 400))
	if w := postV1(h, large); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("beside another: %d %s", w.Code, w.Body)
	}
	close(leave)
	if code := <-codes; code != 204 {
		t.Errorf("the first: %d", code)
	}
	if used := h.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
	if w := postV1(h, slices.Repeat(large, 10)); w.Code != 413 {
		t.Errorf("alone too large: %d %s", w.Code, w.Body)
	}
}

// Many requests at once share pools: none gets another's series.
func TestWriteConcurrent(t *testing.T) {
	m := newMemory()
	h := NewWriteHandler(m, WriteOptions{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("m%d_%d", g, i)
				s := appendSample(nil, int64(i+1), float64(g))
				w := postV1(h, slices.Concat(field(1, label("__name__", name), s), field(1, s, label("__name__", name), label("split", "x"))))
				if w.Code != 204 || written(w) != "2 0 0" {
					t.Errorf("%d %s %s", w.Code, written(w), w.Body)
				}
			}
		})
	}
	wg.Wait()
	for _, s := range m.all() {
		var g, i int
		fmt.Sscanf(s.labels.Get(model.MetricNameLabel), "m%d_%d", &g, &i)
		if v := s.samples[int64(i+1)]; v != float64(g) {
			t.Errorf("%s: %v", s.labels, s.samples)
		}
	}
	if len(m.series) != 800 {
		t.Errorf("%d series", len(m.series))
	}
}
