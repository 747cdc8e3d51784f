package aggregate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/promql/aggregate"
)

// known is a source of known samples, and remembers what it was asked.
type known struct {
	all map[string][]point // by label set
	err error

	mu         sync.Mutex // guards what follows
	mint, maxt int64
	matchers   string
}

type point struct {
	t int64
	v float64
}

func (k *known) Aggregate(_ context.Context, mint, maxt int64, ms ...*labels.Matcher) (chunk.Stats, error) {
	k.mu.Lock()
	k.mint, k.maxt, k.matchers = mint, maxt, fmt.Sprint(ms)
	k.mu.Unlock()
	sum := chunk.NoStats()
	for name, points := range k.all {
		metric, device, _ := strings.Cut(name, " ")
		ls := labels.FromStrings("__name__", metric, "device_id", device)
		if !all(ms, func(m *labels.Matcher) bool { return m.Matches(ls.Get(m.Name)) }) {
			continue
		}
		s := chunk.NoStats()
		for _, p := range points {
			if p.t >= mint && p.t <= maxt {
				s.Observe(p.t, p.v)
			}
		}
		sum.AddSeries(s)
	}
	return sum, k.err
}

func all[T any](list []T, ok func(T) bool) bool {
	for _, v := range list {
		if !ok(v) {
			return false
		}
	}
	return true
}

var now = time.UnixMilli(1_700_000_100_000)

func someData() *known {
	stale := math.Float64frombits(value.StaleNaN)
	return &known{all: map[string][]point{
		"temperature d1": {{1_700_000_000_000, 20}, {1_700_000_001_000, 21.5}, {1_700_000_002_000, stale}, {1_700_000_003_000, 22}},
		"temperature d2": {{1_699_999_999_000, 10}, {1_700_000_004_500, 30}},
		"temperature d3": {{1_800_000_000_000, 99}}, // of the future
		"odd nan":        {{1, math.NaN()}}, "odd inf": {{1, math.Inf(1)}}, "odd minus": {{1, math.Inf(-1)}}, "odd tiny": {{1, 1e-300}}, "odd huge": {{1, 1e300}}, "odd zero": {{1, math.Copysign(0, -1)}},
		"odd stale": {{1, stale}},
	}}
}

func handler(k aggregate.Source) http.Handler {
	return aggregate.NewHandler(k, aggregate.Options{Now: func() time.Time { return now }})
}

func post(h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/query", strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnswers(t *testing.T) {
	h := handler(someData())
	const d1 = `"device_id":"d1","metric_name":"temperature"`
	for _, c := range []struct {
		name, body, result string
		count              int
	}{
		{"avg", `{` + d1 + `,"operation":"avg"}`, "21.166666666666668", 3},
		{"sum", `{` + d1 + `,"operation":"sum"}`, "63.5", 3},
		{"min", `{` + d1 + `,"operation":"min"}`, "20", 3},
		{"max", `{` + d1 + `,"operation":"max"}`, "22", 3},
		{"count", `{` + d1 + `,"operation":"count"}`, "3", 3},
		{"first", `{` + d1 + `,"operation":"first"}`, "20", 3},
		{"last", `{` + d1 + `,"operation":"last"}`, "22", 3},
		{"range", `{` + d1 + `,"operation":"range"}`, "2", 3},
		{"increase", `{` + d1 + `,"operation":"increase"}`, "2", 3},
		{"zero times", `{` + d1 + `,"operation":"sum","start_time":0,"end_time":0}`, "63.5", 3},
		{"null times", `{` + d1 + `,"operation":"sum","start_time":null,"end_time":null}`, "63.5", 3},
		{"both ends are in", `{` + d1 + `,"operation":"sum","start_time":1700000000,"end_time":1700000001}`, "41.5", 2},
		{"one instant", `{` + d1 + `,"operation":"sum","start_time":1700000001,"end_time":1700000001.000}`, "21.5", 1},
		{"fractions", `{"device_id":"d2","metric_name":"temperature","operation":"sum","start_time":1700000004.5,"end_time":1700000004.5}`, "30", 1},
		{"fractions outside", `{"device_id":"d2","metric_name":"temperature","operation":"sum","start_time":1700000004.501,"end_time":0}`, "null", 0},
		{"RFC 3339", `{` + d1 + `,"operation":"sum","start_time":"2023-11-14T22:13:21Z","end_time":"2023-11-14T23:13:23+01:00"}`, "43.5", 2},
		{"relative", `{` + d1 + `,"operation":"sum","start_time":"now-99s","end_time":"now"}`, "43.5", 2},
		{"relative, long", `{` + d1 + `,"operation":"count","start_time":"now-1w2d3h","end_time":"now-0s"}`, "3", 3},
		{"until the future", `{"metric_name":"temperature","operation":"max","end_time":"now+9y"}`, "99", 6},
		{"until now", `{"metric_name":"temperature","operation":"max"}`, "30", 5},
		{"all devices", `{"metric_name":"temperature","operation":"avg"}`, "20.7", 5},
		{"first of several", `{"metric_name":"temperature","operation":"first"}`, "10", 5},
		{"last of several", `{"metric_name":"temperature","operation":"last"}`, "30", 5},
		{"matchers", `{"matchers":"temperature{device_id=~\"d1|d2\"}","operation":"sum"}`, "103.5", 5},
		{"matchers and a device", `{"matchers":"temperature","device_id":"d2","operation":"sum"}`, "40", 2},
		{"matchers and a metric", `{"matchers":"{device_id!=\"d1\",x=\"\",device_id=~\".+\"}","metric_name":"temperature","operation":"sum"}`, "40", 2},
		{"an empty device is none", `{"device_id":"","metric_name":"temperature","operation":"count"}`, "5", 5},
		{"an unknown device", `{"device_id":"nobody","metric_name":"temperature","operation":"avg"}`, "null", 0},
		{"an unknown metric", `{"device_id":"d1","metric_name":"nothing","operation":"count"}`, "null", 0},
		{"stale markers alone", `{"device_id":"stale","metric_name":"odd","operation":"sum"}`, "null", 0},
		{"NaN", `{"device_id":"nan","metric_name":"odd","operation":"sum"}`, `"NaN"`, 1},
		{"NaN, least", `{"device_id":"nan","metric_name":"odd","operation":"min"}`, `"NaN"`, 1},
		{"infinity", `{"device_id":"inf","metric_name":"odd","operation":"avg"}`, `"+Inf"`, 1},
		{"minus infinity", `{"device_id":"minus","metric_name":"odd","operation":"max"}`, `"-Inf"`, 1},
		{"tiny", `{"device_id":"tiny","metric_name":"odd","operation":"max"}`, `1e-300`, 1},
		{"huge", `{"device_id":"huge","metric_name":"odd","operation":"max"}`, `1e+300`, 1},
		{"minus zero", `{"device_id":"zero","metric_name":"odd","operation":"max"}`, `-0`, 1},
		{"white space", " \n\t{ \"device_id\" : \"d1\" , \"metric_name\" : \"temperature\" ,\"operation\":\"sum\"}\r\n ", "63.5", 3},
		{"escapes", `{"device_id":"\u0064\u0031","metric_name":"temperature","operation":"sum"}`, "63.5", 3},
	} {
		w := post(h, c.body)
		var got struct {
			Result     json.RawMessage
			Count      int
			DurationNS *int64 `json:"duration_ns"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			t.Errorf("%s: %d %s (%v)", c.name, w.Code, w.Body, err)
			continue
		}
		if string(got.Result) != c.result || got.Count != c.count || got.DurationNS == nil || *got.DurationNS != 0 {
			t.Errorf("%s: got %s, want result %s and count %d", c.name, w.Body, c.result, c.count)
		}
	}
}

func TestWholeAnswer(t *testing.T) {
	h := handler(someData())
	for body, want := range map[string]string{
		`{"device_id":"d1","metric_name":"temperature","operation":"max","start_time":1,"end_time":0}`: `{"device_id":"d1","metric_name":"temperature","operation":"max","result":22,"count":3,"duration_ns":0}`,
		`{"device_id":"d1","metric_name":"temperature","operation":["max","count","avg"]}`:             `{"device_id":"d1","metric_name":"temperature","operation":["max","count","avg"],"result":{"max":22,"count":3,"avg":21.166666666666668},"count":3,"duration_ns":0}`,
		`{"matchers":"temperature{device_id=\"d<1\"}","operation":["avg"]}`:                            `{"device_id":"","metric_name":"","matchers":"temperature{device_id=\"d\u003c1\"}","operation":["avg"],"result":{"avg":null},"count":0,"duration_ns":0}`,
		`{"matchers":"temperature{device_id=\"d<1\"}","operation":"avg"}`:                              `{"device_id":"","metric_name":"","matchers":"temperature{device_id=\"d\u003c1\"}","operation":"avg","result":null,"count":0,"duration_ns":0}`,
	} {
		w := post(h, body)
		if got := strings.TrimSpace(w.Body.String()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Error(got)
		}
	}
}

func TestWhatTheSourceIsAsked(t *testing.T) {
	k := someData()
	h := aggregate.NewHandler(k, aggregate.Options{DeviceLabel: "sensor", Now: func() time.Time { return now }})
	for _, c := range []struct {
		body, matchers string
		mint, maxt     int64
	}{
		{`{"device_id":"d1","metric_name":"m","operation":"avg"}`, `[__name__="m" sensor="d1"]`, math.MinInt64 / 2, now.UnixMilli()},
		{`{"metric_name":"m","operation":"avg","start_time":1.0004,"end_time":2.0006}`, `[__name__="m"]`, 1000, 2001},
		{`{"metric_name":"m","operation":"avg","start_time":-1.5,"end_time":1700000000.123}`, `[__name__="m"]`, -1500, 1_700_000_000_123},
		{`{"matchers":"{a=~\"x.*\"}","operation":"avg","start_time":1e3}`, `[a=~"x.*"]`, 1_000_000, now.UnixMilli()},
	} {
		if w := post(h, c.body); w.Code != 200 {
			t.Errorf("%s: %s", c.body, w.Body)
		}
		if k.matchers != c.matchers || k.mint != c.mint || k.maxt != c.maxt {
			t.Errorf("%s: asked for %s from %d to %d", c.body, k.matchers, k.mint, k.maxt)
		}
	}
}

func TestCarrier(t *testing.T) {
	h := handler(someData())
	const body = `{"metric_name":"temperature","operation":"count"}`
	for _, c := range []struct {
		name, method string
		header       http.Header
		body         string
		status       int
	}{
		{"GET", "GET", nil, "", 405}, {"HEAD", "HEAD", nil, "", 405}, {"PUT", "PUT", nil, body, 405}, {"DELETE", "DELETE", nil, "", 405},
		{"no type", "POST", nil, body, 200},
		{"JSON", "POST", http.Header{"Content-Type": {"application/json"}}, body, 200},
		{"JSON with a charset", "POST", http.Header{"Content-Type": {"Application/JSON; charset=utf-8"}}, body, 200},
		{"what curl -d says", "POST", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body, 200},
		{"text", "POST", http.Header{"Content-Type": {"text/plain"}}, body, 415},
		{"a broken type", "POST", http.Header{"Content-Type": {"application/json;;;="}}, body, 415},
		{"gzip", "POST", http.Header{"Content-Encoding": {"gzip"}}, body, 415},
		{"identity", "POST", http.Header{"Content-Encoding": {"identity"}}, body, 200},
		{"1 MiB of white space", "POST", nil, body + strings.Repeat(" ", 1<<20-len(body)), 200},
		{"over 1 MiB", "POST", nil, body + strings.Repeat(" ", 1<<20), 413},
	} {
		r := httptest.NewRequest(c.method, "/query", strings.NewReader(c.body))
		for k, v := range c.header {
			r.Header[k] = v
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if allow := w.Header().Get("Allow"); (allow == "POST") != (c.status == 405) {
			t.Errorf("%s: Allow is %q", c.name, allow)
		}
	}
	r := httptest.NewRequest("POST", "/query", io.MultiReader(strings.NewReader(body[:10]), brokenReader{}))
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 400 {
		t.Errorf("a broken connection: %d %s", w.Code, w.Body)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type none struct{}

func (none) Aggregate(context.Context, int64, int64, ...*labels.Matcher) (chunk.Stats, error) {
	s := chunk.NoStats()
	s.Observe(1, 21.5)
	return s, nil
}

// What the handler itself costs.
func BenchmarkHandler(b *testing.B) {
	const body = `{"device_id":"sensor-1","metric_name":"temperature","operation":"avg","start_time":1700000000,"end_time":1700604800}`
	h := aggregate.NewHandler(none{}, aggregate.Options{})
	b.ReportAllocs()
	for b.Loop() {
		if w := post(h, body); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

func ExampleHandler() {
	h := aggregate.NewHandler(someData(), aggregate.Options{Now: func() time.Time { return now }}) // any Source
	srv := httptest.NewServer(h)
	defer srv.Close()
	resp, err := http.Post(srv.URL+"/query", "application/json",
		strings.NewReader(`{"device_id":"d1","metric_name":"temperature","operation":"max","start_time":"now-1h"}`))
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	fmt.Print(string(answer))
	// Output: {"device_id":"d1","metric_name":"temperature","operation":"max","result":22,"count":3,"duration_ns":0}
}
