package promql_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"

	"github.com/minitrue/minitrue/promql"
)

// The same requests, good and bad, to a real Prometheus and to this API over the
// same samples get the same status and the same JSON.
func TestAnswersAsPrometheus(t *testing.T) {
	theirs := startPrometheus(t)
	ours := serve(t, promql.Options{}).URL
	calls := slices.Concat(evaluations(), builtinExpressions(t), parameters(), lookups(), oddPaths())
	failed := 0
	for _, c := range calls {
		if why := difference(t, c, ours, theirs); why != "" {
			t.Errorf("%s:\n%s", c, why)
			if failed++; failed == 20 {
				t.Fatal("and so on")
			}
		}
	}
	t.Logf("%d requests compared", len(calls))
}

func difference(t *testing.T, c call, ours, theirs string) string {
	t.Helper()
	got, gotBody := c.do(t, ours)
	want, wantBody := c.do(t, theirs)
	if got.StatusCode != want.StatusCode {
		return fmt.Sprintf("got  %d %s\nwant %d %s", got.StatusCode, cut(gotBody), want.StatusCode, cut(wantBody))
	}
	if len(wantBody) == 0 && len(gotBody) == 0 {
		return ""
	}
	if g, w := got.Header.Get("Content-Type"), want.Header.Get("Content-Type"); g != w {
		return fmt.Sprintf("content type %q, want %q", g, w)
	}
	if g, w := normal(gotBody), normal(wantBody); !reflect.DeepEqual(g, w) {
		return fmt.Sprintf("got  %s\nwant %s", cut(gotBody), cut(wantBody))
	}
	return ""
}

func cut(b []byte) string { return string(b[:min(len(b), 1500)]) }

// normal decodes an answer and takes away what may differ: timings, the order of
// instant vectors, and how numbers are written.
func normal(b []byte) any {
	var v any
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil || dec.More() {
		return fmt.Sprintf("not one JSON value: %v", err)
	}
	v = plain(v)
	if top, ok := v.(map[string]any); ok {
		if data, ok := top["data"].(map[string]any); ok {
			if stats, ok := data["stats"].(map[string]any); ok {
				delete(stats, "timings")
			}
			if rows, ok := data["result"].([]any); ok && data["resultType"] == "vector" {
				slices.SortFunc(rows, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			}
		}
		for _, key := range []string{"warnings", "infos"} {
			if rows, ok := top[key].([]any); ok {
				slices.SortFunc(rows, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			}
		}
	}
	return v
}

func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, _ := strconv.ParseFloat(string(v), 64)
		return f
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

var mid = seconds(dataStart + 100*dataStep)

var expressions = []string{
	`temperature`, `temperature{device_id="d3"}`, `{__name__=~"temp.*",site!="a"}`, `requests_total`, `odd`, `gappy`, `mixed`, `latency`,
	`latency_gauge`, `{"http.status"}`, `classic_bucket`, `nothing`, `1`, `"text"`, `-odd`, `time()`, `vector(1e30)`, `1e30`, `NaN`, `Inf`, `-Inf`, `1/0`, `1e-7`,
	`sum(temperature)`, `avg by (site) (temperature)`, `max without (device_id) (temperature)`, `topk(3, temperature)`, `bottomk(2, requests_total)`,
	`quantile(0.9, temperature)`, `count_values("v", requests_total)`, `stddev(temperature)`, `group(temperature)`,
	`rate(requests_total[5m])`, `increase(requests_total[5m])`, `irate(requests_total[2m])`, `delta(temperature[5m])`, `deriv(temperature[5m])`,
	`sum_over_time(temperature[10m])`, `avg_over_time(odd[10m])`, `min_over_time(odd[10m])`, `last_over_time(gappy[5m])`, `present_over_time(gappy[5m])`,
	`count_over_time(gappy[20m])`, `quantile_over_time(0.5, temperature[5m])`, `changes(gappy[10m])`, `resets(requests_total[30m])`, `absent(nothing)`,
	`histogram_quantile(0.9, rate(latency[5m]))`, `histogram_quantile(0.9, rate(classic_bucket[5m]))`, `histogram_count(latency)`, `histogram_sum(latency)`,
	`histogram_avg(latency)`, `histogram_fraction(0, 1, latency)`, `rate(latency[5m])`, `sum(latency)`, `sum(latency{job!="custom"})`, `avg(rate(latency[5m]))`, `increase(latency[10m])`,
	`sum(mixed) + 1`, `rate(mixed[10m])`, `rate(temperature[5m])`, `temperature offset 5m`, `temperature offset -5m`, `temperature @ 1700000500`, `temperature @ start()`,
	`max_over_time(temperature[10m:1m])`, `sum_over_time(rate(requests_total[1m])[10m:])`, `avg_over_time(time()[5m:10s])`,
	`temperature * on (device_id) group_left (code) requests_total`, `temperature > 22`, `temperature > bool 22`, `temperature and requests_total`,
	`temperature and on (device_id) requests_total`, `temperature unless on (device_id) requests_total{code="200"}`, `temperature or requests_total`,
	`label_replace(temperature, "x", "$1", "device_id", "d(.*)")`, `label_join(temperature, "y", "-", "device_id", "site")`, `sort(temperature)`, `sort_desc(temperature)`,
	`clamp(temperature, 20, 22)`, `round(temperature, 0.1)`, `scalar(temperature)`, `day_of_week()`, `timestamp(temperature)`, `predict_linear(temperature[10m], 600)`,
	`temperature[1m]`, `latency[1m]`, `mixed[1m]`, `odd[4m]`, `gappy[20m]`, `temperature[2m:30s]`, `{__name__="http.status"}[1m]`,
	// Wrong ones.
	``, ` `, `(`, `temperature{`, `temperature{a=}`, `temperature[`, `temperature[5m`, `temperature[5x]`, `sum(`, `sum(temperature`, `unknown_function(1)`, `{}`, `{a=""}`, `{a=~".*"}`,
	`rate(temperature)`, `rate(temperature[5m]`, `1 + "a"`, `"a" + "b"`, `temperature + on (x) requests_total`, `temperature * requests_total`, `temperature / on (site) temperature`,
	`{a=~"("}`, `{a=~"x{2000}"}`, `temperature @ nope`, `temperature offset`, `topk("a", temperature)`, `label_replace(temperature, "0x", "", "", "(")`, `label_replace(temperature, "site", "same", "device_id", ".*")`,
	`histogram_quantile(2, latency)`, `sum by (temperature`, `temperature{a="b",}`, `temperature{"a"="b"}`, `{"http.status","emoji"="🌡️"}`, `'single'`, "`raw`", `"\xff"`, `a:b:c`, `0x1F`, `1_000`, `5m`, `1h30m + 1`,
	`# comment`, `temperature # comment`, `absent_over_time(nothing[5m])`, `mad_over_time(temperature[5m])`, `sort_by_label(temperature, "site")`, `limitk(2, temperature)`, `info(temperature)`, `count(temperature) by (site) == 3`,
	`sum_over_time(nothing[100y])`, `pi()`, `vector(time())`, `holt_winters(temperature[5m], 0.5, 0.5)`, `quantile(NaN, temperature)`, `histogram_quantile(0.5, temperature)`, `-temperature ^ 2 ^ 0.5`, `temperature % 0`, `temperature atan2 temperature`,
}

func evaluations() (calls []call) {
	from, to := seconds(dataStart), seconds(dataStart+dataSteps*dataStep)
	for _, e := range expressions {
		limit := "2"
		if strings.HasPrefix(e, "count_values") {
			limit = "" // its order is random, and so is what a limit keeps
		}
		calls = append(calls,
			call{"GET", "/api/v1/query", form("query", e, "time", mid)},
			call{"POST", "/api/v1/query", form("query", e, "time", mid, "stats", "all", "limit", limit)},
			call{"POST", "/api/v1/query_range", form("query", e, "start", from, "end", to, "step", "60")},
			call{"GET", "/api/v1/query_range", form("query", e, "start", from, "end", to, "step", "7m13s", "stats", "true", "limit", "1", "lookback_delta", "1m")},
			call{"GET", "/api/v1/format_query", form("query", e)},
			call{"POST", "/api/v1/parse_query", form("query", e)},
			call{"POST", "/api/v1/query_exemplars", form("query", e, "start", from, "end", to)},
		)
	}
	return calls
}

// builtinExpressions are those of Prometheus's own test scripts.
func builtinExpressions(t *testing.T) (calls []call) {
	exprs, err := promqltest.GetBuiltInExprs()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(exprs)
	for _, e := range slices.Compact(exprs) {
		calls = append(calls,
			call{"POST", "/api/v1/query", form("query", e, "time", mid)},
			call{"GET", "/api/v1/format_query", form("query", e)},
			call{"GET", "/api/v1/parse_query", form("query", e)})
	}
	return calls
}

// parameters are good and bad values of every parameter.
func parameters() (calls []call) {
	times := []string{
		"", "0", "1700000000", "1700000000.123", "1700000000.1239", "1.7e9", "-1", "-0.5", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20.5+02:00", "2023-11-14", "now", "abc", " 1", "1700000000s",
		"0x10", "1_000", "-292273086-05-16T16:47:06Z", "292277025-08-18T07:12:54.999999999Z", "9999-12-31T23:59:59Z",
	}
	durations := []string{"", "0", "-1", "1", "0.5", "15s", "1m30s", "1h", "1d", "1y", "5", "5x", "1e3", "1e300", "NaN", "Inf", "-Inf", "1.5m", " 1", "999999999999", "abc", "-1m", "1m1m"}
	limits := []string{"", "0", "1", "3", "-1", "abc", "1.5", "99999999999999999999", "9223372036854775807", " 1"}
	for _, v := range times {
		// What it answers to queries of years beyond 2262 is random: its nanoseconds overflow.
		if !strings.HasPrefix(v, "9999") && !strings.Contains(v, "292") {
			calls = append(calls,
				call{"GET", "/api/v1/query_range", form("query", "1", "start", v, "end", "1700000000", "step", "200000")},
				call{"GET", "/api/v1/query_range", form("query", "1", "start", "1700000000", "end", v, "step", "200000")})
			if v != "" {
				calls = append(calls, call{"GET", "/api/v1/query", form("query", "vector(time())", "time", v)})
			}
		}
		calls = append(calls,
			call{"GET", "/api/v1/series", form("match[]", "temperature", "start", v)},
			call{"GET", "/api/v1/labels", form("end", v)},
			call{"GET", "/api/v1/label/site/values", form("start", v, "end", "1700000500")},
			call{"GET", "/api/v1/query_exemplars", form("query", "requests_total", "start", v)})
	}
	for ms := range int64(300) {
		calls = append(calls, call{"GET", "/api/v1/query", form("query", "vector(1)", "time", seconds(dataStart+ms*997))})
	}
	for _, v := range durations {
		calls = append(calls,
			call{"GET", "/api/v1/query_range", form("query", "1", "start", "1700000000", "end", "1700000100", "step", v)},
			call{"POST", "/api/v1/query_range", form("query", "temperature", "start", "1700000000", "end", "1700000100", "step", "15", "timeout", v)},
			call{"GET", "/api/v1/query", form("query", "temperature", "time", mid, "lookback_delta", v)},
			call{"GET", "/api/v1/query", form("query", "temperature", "time", mid, "timeout", v)})
	}
	for _, v := range limits {
		calls = append(calls,
			call{"GET", "/api/v1/query", form("query", "temperature", "time", mid, "limit", v)},
			call{"GET", "/api/v1/query", form("query", "1", "time", mid, "limit", v)},
			call{"GET", "/api/v1/query_range", form("query", "temperature", "start", "1700000000", "end", "1700000100", "step", "15", "limit", v)},
			call{"GET", "/api/v1/series", form("match[]", "temperature", "limit", v)},
			call{"GET", "/api/v1/labels", form("limit", v)},
			call{"GET", "/api/v1/label/device_id/values", form("limit", v)},
			call{"GET", "/api/v1/metadata", form("limit", v)},
			call{"GET", "/api/v1/metadata", form("limit_per_metric", v)})
	}
	for _, v := range []string{"", "true", "all", "false", "1", "ALL"} {
		calls = append(calls,
			call{"GET", "/api/v1/query", form("query", "rate(requests_total[5m])", "time", mid, "stats", v)},
			call{"GET", "/api/v1/query_range", form("query", "sum(latency)", "start", "1700000000", "end", "1700000100", "step", "15", "stats", v)})
	}
	for _, v := range [][3]string{{"1700000100", "1700000000", "1"}, {"0", "11000", "1"}, {"0", "11001", "1"}, {"0", "1e9", "1"}, {"1700000000", "1700000000", "1"}, {"0", "11000.999", "1"}} {
		calls = append(calls, call{"GET", "/api/v1/query_range", form("query", "1", "start", v[0], "end", v[1], "step", v[2])})
	}
	return calls
}

func lookups() (calls []call) {
	selectors := [][]string{
		nil, {"temperature"}, {"temperature", "requests_total"}, {"temperature", "temperature"}, {`{site="a"}`}, {`{site=~".+"}`, `{code="200"}`}, {"nothing"},
		{`{"http.status"}`}, {`{__name__!=""}`}, {"{}"}, {`{a=""}`}, {`{a=~".*"}`}, {"temperature", "{}"}, {"rate(temperature[5m])"}, {"temperature["}, {""}, {"temperature offset 5m"}, {"1"}, {`{a=~"("}`},
	}
	for _, set := range selectors {
		var pairs []string
		for _, s := range set {
			pairs = append(pairs, "match[]", s)
		}
		for _, limit := range []string{"", "2"} {
			f := form(append(pairs, "start", seconds(dataStart), "end", mid, "limit", limit)...)
			calls = append(calls, call{"GET", "/api/v1/series", f}, call{"POST", "/api/v1/series", f},
				call{"GET", "/api/v1/labels", f}, call{"POST", "/api/v1/labels", f},
				call{"GET", "/api/v1/label/__name__/values", f}, call{"GET", "/api/v1/label/device_id/values", f})
		}
		calls = append(calls, call{"GET", "/api/v1/rules", form(pairs...)})
	}
	for _, name := range []string{
		"site", "nothing", "U__gr_f6__dfe_2e_m", "gr%C3%B6%C3%9Fe.m", "U__emoji", "U__bad_", "U__", "a-b", "1a", "%FF", "%20", "le", "__name__", "U__http_2e_status", "a%00b",
	} {
		calls = append(calls, call{"GET", "/api/v1/label/" + name + "/values", ""})
	}
	return calls
}

func oddPaths() []call {
	return []call{
		{"GET", "/api/v1/alerts", ""}, {"GET", "/api/v1/rules", ""}, {"GET", "/api/v1/rules", "type=alert"}, {"GET", "/api/v1/targets", ""}, {"GET", "/api/v1/rules", "type=x"},
		{"GET", "/api/v1/targets/metadata", ""}, {"GET", "/api/v1/scrape_pools", ""}, {"GET", "/api/v1/alertmanagers", ""}, {"GET", "/api/v1/metadata", ""},
		{"GET", "/api/v1/metadata", "metric=up"}, {"GET", "/api/v1/query", ""}, {"POST", "/api/v1/query", ""}, {"POST", "/api/v1/series", ""}, {"GET", "/api/v1/query_range", ""}, {"GET", "/api/v1/query_exemplars", ""},
		{"GET", "/api/v1/format_query", ""}, {"GET", "/api/v1/parse_query", ""}, {"GET", "/api/v1/status/tsdb", "limit=0"}, {"GET", "/api/v1/status/tsdb", "limit=x"}, {"GET", "/api/v1/status/tsdb", "limit=10001"},
		{"OPTIONS", "/api/v1/query", ""}, {"GET", "/api/v1/query", "query=1&time=1&query=2"}, {"GET", "/api/v1/query_exemplars", "query=1"}, {"GET", "/api/v1/query_exemplars", "query=requests_total&start=2&end=1"},
	}
}
