package promql_test

import (
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/promql"
)

// want is how a hostile request must end.
type want struct {
	status    int
	errorType string
	text      string // part of the error
}

func (w want) check(t *testing.T, what string, status int, body []byte) {
	t.Helper()
	var got struct{ Status, ErrorType, Error string }
	if err := json.Unmarshal(body, &got); err != nil {
		t.Errorf("%s: %d, not JSON: %.200s", what, status, body)
		return
	}
	if status != w.status || got.ErrorType != w.errorType || !strings.Contains(got.Error, w.text) {
		t.Errorf("%s: got %d %.600s\nwant %d %s %q", what, status, body, w.status, w.errorType, w.text)
	}
}

func TestHostileRequests(t *testing.T) {
	srv := serve(t, promql.Options{Timeout: 30 * time.Second, MaxSamples: 100_000})
	deep := func(n int) string { return strings.Repeat("(", n) + "1" + strings.Repeat(")", n) }
	bad := want{400, "bad_data", ""}
	q := func(query string) call { return call{"POST", "/api/v1/query", form("query", query, "time", mid)} }
	rows := []struct {
		name string
		call call
		want want
	}{
		{"deep parentheses", q(deep(1_000_000)), want{400, "bad_data", "at most 262144 are allowed"}},
		{"deep, not closed", q(strings.Repeat("(", 9_000)), bad},
		{"deep, allowed", q(deep(4_900)), want{200, "", ""}},
		{"a long chain", q("1" + strings.Repeat("+1", 4_900)), want{200, "", ""}},
		{"a very long chain", q("1" + strings.Repeat("+1", 100_000)), want{400, "bad_data", "tokens"}},
		{"many signs", q(strings.Repeat("- ", 9_900) + "1"), want{200, "", ""}},
		{"deep functions", q(strings.Repeat("abs(", 3_000) + "odd" + strings.Repeat(")", 3_000)), want{200, "", ""}},
		{"deep subqueries", q(strings.Repeat("max_over_time(", 200) + "odd" + strings.Repeat("[1m:1s])", 200)), want{200, "", ""}},
		{"deep, formatted", call{"POST", "/api/v1/format_query", form("query", deep(4_900))}, want{400, "bad_data", "too deep to be formatted"}},
		{"less deep, formatted", call{"POST", "/api/v1/format_query", form("query", deep(700))}, want{200, "", ""}},
		{"wide, formatted", call{"POST", "/api/v1/format_query", form("query", "sum("+strings.Repeat("a{b=\"c\"} or ", 100)+"d)")}, want{200, "", ""}},
		{"deep tree", call{"POST", "/api/v1/parse_query", form("query", deep(4_900))}, want{200, "", ""}},
		{"deep sums", q(strings.Repeat("sum(", 2_400) + "odd" + strings.Repeat(")", 2_400)), want{200, "", ""}},
		{"a giant regular expression", q(`{__name__=~"` + strings.Repeat("(a|b)?", 40_000) + `"}`), want{400, "bad_data", "too complex"}},
		{"a giant one of letters", q(`{__name__=~"` + strings.Repeat("temperature|", 20_000) + `odd"}`), want{200, "", ""}},
		{"a giant one in label_replace", q(`label_replace(odd, "a", "$1", "__name__", "` + strings.Repeat("(a|b)?", 40_000) + `")`), want{400, "bad_data", "too complex"}},
		{"a giant one in a selector", call{"POST", "/api/v1/series", form("match[]", `{__name__=~"`+strings.Repeat("(a|b)?", 40_000)+`"}`)}, want{400, "bad_data", "too complex"}},
		{"a giant one for exemplars", call{"POST", "/api/v1/query_exemplars", form("query", `{__name__=~"`+strings.Repeat("(a|b)?", 40_000)+`"}`)}, want{400, "bad_data", "too complex"}},
		{"selectors too long", call{"POST", "/api/v1/labels", strings.Repeat(form("match[]", strings.Repeat("a", 100_000))+"&", 5)}, want{400, "bad_data", "at most 262144"}},
		{"an exploding repetition", q(`{__name__=~"((a{1,1000}){1,1000}){1,1000}"}`), bad},
		{"a regular expression too deep", q(`{__name__=~"` + strings.Repeat("(", 5000) + strings.Repeat(")", 5000) + `"}`), bad},
		{"a huge range", q(`sum_over_time(temperature[290y])`), want{200, "", ""}},
		{"a range beyond durations", q(`sum_over_time(temperature[9999y])`), want{400, "bad_data", "out of range"}},
		{"a huge subquery", q(`max_over_time(vector(1)[100y:1ms])`), want{422, "execution", "make their steps longer"}},
		{"a huge subquery in subqueries", q(`max_over_time(max_over_time(a[1d:1s])[60d:2s])`), want{422, "execution", "make their steps longer"}},
		{"many subqueries", q("1" + strings.Repeat("+max_over_time(vector(1)[1h:100ms])", 300)), want{422, "execution", "make their steps longer"}},
		{"a large subquery", q(`max_over_time(vector(1)[2d:100ms])`), want{422, "execution", "too many samples"}},
		{"a long subquery", q(`max_over_time(nothing[50d:1s])`), want{200, "", ""}},
		{"a slow query", call{"POST", "/api/v1/query", form("query", "max_over_time(quantile_over_time(0.5, temperature[1h])[2h:1s])", "time", "1700003600", "timeout", "20ms")}, want{503, "timeout", "timed out"}},
		{"too many samples", call{"POST", "/api/v1/query_range", form("query", `{__name__=~".+"}`, "start", "1700000000", "end", "1700003600", "step", "1")}, want{422, "execution", "too many samples"}},
		{"a tiny step", call{"GET", "/api/v1/query_range", form("query", "1", "start", "0", "end", "1700000000", "step", "0.001")}, want{400, "bad_data", "11,000 points"}},
		{"a step under a millisecond", call{"GET", "/api/v1/query_range", form("query", "1", "start", "0", "end", "0", "step", "0.0001")}, want{400, "bad_data", "millisecond"}},
		{"a range over all centuries", call{"GET", "/api/v1/query_range", form("query", "1", "start", "-9223309901257974", "end", "9223309901257974", "step", "1y")}, want{400, "bad_data", "1678"}},
		{"two centuries", call{"GET", "/api/v1/query_range", form("query", "1", "start", "-9000000000", "end", "9000000000", "step", "1h")}, want{400, "bad_data", "11,000 points"}},
		{"a time beyond", call{"GET", "/api/v1/query", form("query", "1", "time", "9999-12-31T00:00:00Z")}, want{400, "bad_data", "1678"}},
		{"time NaN", call{"GET", "/api/v1/query", form("query", "1", "time", "NaN")}, want{400, "bad_data", "out of range"}},
		{"time Inf", call{"GET", "/api/v1/series", form("match[]", "a", "start", "-Inf")}, want{400, "bad_data", "out of range"}},
		{"invalid UTF-8 in a query", q("\xff\xfe"), bad},
		{"invalid UTF-8 in a string", q("{a=\"\xff\"}"), bad},
		{"a NUL", q("a\x00b"), bad},
		{"a broken escape", call{"GET", "/api/v1/query", "query=%zz"}, want{400, "bad_data", "form"}},
		{"a broken escape in a body", call{"POST", "/api/v1/query", "query=%zz"}, want{400, "bad_data", "form"}},
		{"a body of 11 MiB", call{"POST", "/api/v1/query", "query=" + strings.Repeat("a", 11<<20)}, want{413, "bad_data", "over 10485760 bytes"}},
		{"a million keys", call{"POST", "/api/v1/query", strings.Repeat("a=1&", 1_000_000)}, bad},
		{"many selectors", call{"POST", "/api/v1/series", strings.Repeat("match[]=temperature&", 1_000) + "limit=1"}, want{200, "", ""}},
		{"an unknown path", call{"GET", "/api/v1/nothing", ""}, want{404, "not_found", "/api/v1/nothing"}},
		{"the root", call{"GET", "/api/v1/", ""}, want{404, "not_found", ""}},
		{"DELETE", call{"DELETE", "/api/v1/query", ""}, want{405, "bad_data", "use GET or POST"}},
		{"POST where GET is right", call{"POST", "/api/v1/label/a/values", ""}, want{405, "bad_data", "use GET"}},
		{"PUT", call{"PUT", "/api/v1/status/flags", ""}, want{405, "bad_data", ""}},
		{"a huge limit", call{"GET", "/api/v1/series", form("match[]", "temperature", "limit", "9223372036854775807")}, want{200, "", ""}},
		{"a timeout of a nanosecond", call{"GET", "/api/v1/query", form("query", "temperature", "timeout", "0.000000001")}, want{503, "timeout", ""}},
	}
	for _, r := range rows {
		start := time.Now()
		resp, body := r.call.do(t, srv.URL)
		r.want.check(t, r.name, resp.StatusCode, body)
		t.Logf("%-32s %3d %v", r.name, resp.StatusCode, time.Since(start).Round(time.Millisecond))
	}
	if resp, _ := (call{"GET", "/api/v1/label//values", ""}).do(t, srv.URL); resp.StatusCode/100 == 2 || resp.StatusCode >= 500 {
		t.Errorf("a label without name: %d", resp.StatusCode)
	}
	// The server goes on.
	if resp, body := q("temperature").do(t, srv.URL); resp.StatusCode != 200 {
		t.Errorf("after all that: %d %s", resp.StatusCode, body)
	}
}

func TestMultipartAndOtherBodies(t *testing.T) {
	srv := serve(t, promql.Options{})
	multi := "--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\n1+1\r\n--x--\r\n"
	for _, c := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"multipart", "multipart/form-data; boundary=x", multi, 200},
		{"multipart, cut", "multipart/form-data; boundary=x", multi[:40], 400},
		{"multipart without a boundary", "multipart/form-data", multi, 400},
		{"JSON", "application/json", `{"query":"1"}`, 400},
		{"no type", "", "query=1", 400},
		{"a broken type", "a/b/c;;", "query=1", 400},
		{"with a charset", "application/x-www-form-urlencoded; charset=utf-8", "query=1", 200},
	} {
		req, _ := http.NewRequest(http.MethodPost, srv.URL+"/api/v1/query", strings.NewReader(c.body))
		if c.contentType != "" {
			req.Header.Set("Content-Type", c.contentType)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || !json.Valid(body) {
			t.Errorf("%s: %d %s, want %d", c.name, resp.StatusCode, body, c.status)
		}
	}
}

func TestMemoryOfHostileRequests(t *testing.T) {
	srv := serve(t, promql.Options{MaxSamples: 100_000, Timeout: time.Second})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 5 {
		for _, q := range []string{`max_over_time(vector(1)[100y:1ms])`, `{__name__=~"` + strings.Repeat("(a|b)?", 10_000) + `"}`, strings.Repeat("(", 1<<20)} {
			call{"POST", "/api/v1/query", form("query", q, "stats", "all")}.do(t, srv.URL)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d MiB stay in use", grown>>20)
	}
}
