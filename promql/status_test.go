package promql_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql"
)

type families []series.Metadata

func (f families) Metadata(yield func(series.Metadata) bool) {
	for _, m := range f {
		if !yield(m) {
			return
		}
	}
}

func data(t *testing.T, base, path, form string) any {
	t.Helper()
	resp, body := call{"GET", path, form}.do(t, base)
	if resp.StatusCode != 200 {
		t.Fatalf("%s?%s: %d %s", path, form, resp.StatusCode, body)
	}
	return normal(body).(map[string]any)["data"]
}

func TestMetadata(t *testing.T) {
	srv := serve(t, promql.Options{Metadata: families{
		{Family: "a", Type: model.MetricTypeGauge, Unit: "celsius", Help: "How warm it is."},
		{Family: "b", Type: model.MetricTypeCounter, Help: "one"},
		{Family: "b", Type: model.MetricTypeCounter, Help: "two"},
		{Family: "b", Type: model.MetricTypeCounter, Help: "two"},
		{Family: "c", Type: model.MetricTypeUnknown},
	}})
	a := map[string]any{"type": "gauge", "unit": "celsius", "help": "How warm it is."}
	b1 := map[string]any{"type": "counter", "unit": "", "help": "one"}
	b2 := map[string]any{"type": "counter", "unit": "", "help": "two"}
	c := map[string]any{"type": "unknown", "unit": "", "help": ""}
	for query, want := range map[string]map[string]any{
		"":                            {"a": []any{a}, "b": []any{b1, b2}, "c": []any{c}},
		"metric=b":                    {"b": []any{b1, b2}},
		"metric=b&limit_per_metric=1": {"b": []any{b1}},
		"limit=2":                     {"a": []any{a}, "b": []any{b1, b2}},
		"limit=0":                     {},
		"metric=nothing":              {},
	} {
		if got := data(t, srv.URL, "/api/v1/metadata", query); !reflect.DeepEqual(got, any(want)) {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	asked := 0
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	srv := serve(t, promql.Options{
		Flags:   map[string]string{"port": "8080"},
		Config:  "mqtt:\n  topic: iot\n",
		Build:   promql.BuildInfo{Application: "MiniTrue", Version: "1.2.3", Revision: "abc"},
		Started: started, Retention: "15d", Corruptions: func() int64 { return 3 },
		TSDB: func(limit int) promql.TSDBStatus {
			asked = limit
			return promql.TSDBStatus{
				HeadStats:               promql.HeadStats{NumSeries: 2, NumLabelPairs: 3, ChunkCount: 4, MinTime: 5, MaxTime: 6},
				SeriesCountByMetricName: []promql.Stat{{Name: "a", Value: 2}, {Name: "b", Value: 1}},
			}
		},
	})
	if got := data(t, srv.URL, "/api/v1/status/flags", ""); !reflect.DeepEqual(got, any(map[string]any{"port": "8080"})) {
		t.Error(got)
	}
	if got := data(t, srv.URL, "/api/v1/status/config", ""); !reflect.DeepEqual(got, any(map[string]any{"yaml": "mqtt:\n  topic: iot\n"})) {
		t.Error(got)
	}
	build := data(t, srv.URL, "/api/v1/status/buildinfo", "").(map[string]any)
	if build["version"] != "1.2.3" || build["application"] != "MiniTrue" || !strings.HasPrefix(build["goVersion"].(string), "go") {
		t.Error(build)
	}
	run := data(t, srv.URL, "/api/v1/status/runtimeinfo", "").(map[string]any)
	if run["startTime"] != "2026-01-02T03:04:05Z" || run["storageRetention"] != "15d" || run["corruptionCount"] != 3.0 {
		t.Error(run)
	}
	want := map[string]any{
		"headStats":                  map[string]any{"numSeries": 2.0, "numLabelPairs": 3.0, "chunkCount": 4.0, "minTime": 5.0, "maxTime": 6.0},
		"seriesCountByMetricName":    []any{map[string]any{"name": "a", "value": 2.0}},
		"labelValueCountByLabelName": []any{}, "memoryInBytesByLabelName": []any{}, "seriesCountByLabelValuePair": []any{},
	}
	if got := data(t, srv.URL, "/api/v1/status/tsdb", "limit=1"); !reflect.DeepEqual(got, any(want)) || asked != 1 {
		t.Errorf("asked for %d, got %v", asked, got)
	}
}

// The keys of the status pages are Prometheus's.
func TestStatusKeysAsPrometheus(t *testing.T) {
	theirs := startPrometheus(t)
	ours := serve(t, promql.Options{Flags: map[string]string{"a": "b"}}).URL
	for _, page := range []string{"buildinfo", "runtimeinfo", "tsdb", "config"} {
		got := data(t, ours, "/api/v1/status/"+page, "").(map[string]any)
		want := data(t, theirs, "/api/v1/status/"+page, "").(map[string]any)
		g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))
		if !slices.Equal(g, w) {
			t.Errorf("%s: got %v, want %v", page, g, w)
		}
		for k := range got {
			if reflect.TypeOf(got[k]) != reflect.TypeOf(want[k]) {
				t.Errorf("%s: %s is %T, want %T", page, k, got[k], want[k])
			}
		}
	}
}

// promtool, which lies beside the prometheus binary, reads the answers.
func TestPromtool(t *testing.T) {
	tool := filepath.Join(filepath.Dir(prometheusBinary(t)), "promtool")
	if _, err := os.Stat(tool); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("promtool is not installed beside prometheus")
	}
	srv := serve(t, promql.Options{})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"instant", "--time", mid, srv.URL, `temperature{device_id="d3"}`}, `temperature{device_id="d3", site="a"} => `},
		{[]string{"range", "--start", "1700000000", "--end", "1700000060", "--step", "30s", srv.URL, "sum(temperature)"}, "@[1700000060]"},
		{[]string{"instant", "--time", mid, srv.URL, "latency"}, "Count: 912"},
		{[]string{"series", "--start", "1700000000", "--end", "1700003600", "--match", "temperature", srv.URL}, `{__name__="temperature", device_id="d9", site="a"}`},
		{[]string{"labels", "--start", "1700000000", "--end", "1700003600", srv.URL, "site"}, "a\nb\nc"},
	} {
		out, err := exec.Command(tool, append([]string{"query"}, c.args...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("promtool query %v: %v\n%s", c.args, err, out)
		}
	}
}

// Several APIs beside one another on one mux with other handlers, and their metrics.
func TestRegister(t *testing.T) {
	reg := prometheus.NewRegistry()
	api := promql.NewAPI(promql.Options{Queryable: &faulty{}, Registerer: reg})
	defer api.Close()
	mux := http.NewServeMux()
	api.Register(mux)
	mux.HandleFunc("POST /api/v1/write", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /api/v1/ingest/rejected", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/api/v1/write", 204}, {"GET", "/api/v1/ingest/rejected", 418}, {"GET", "/api/v1/query?query=1", 200}, {"GET", "/api/v1/nothing", 404}, {"GET", "/api/v1/query?query=(", 400},
	} {
		w := &recorder{header: http.Header{}}
		r, _ := http.NewRequest(c.method, c.path, http.NoBody)
		if mux.ServeHTTP(w, r); w.status != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.status, c.status)
		}
	}
	want := `
		# HELP minitrue_promql_requests_total Requests to the Prometheus HTTP API, by path and status code.
		# TYPE minitrue_promql_requests_total counter
		minitrue_promql_requests_total{code="200",path="query"} 1
		minitrue_promql_requests_total{code="400",path="query"} 1
		minitrue_promql_requests_total{code="404",path="unknown"} 1
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "minitrue_promql_requests_total"); err != nil {
		t.Error(err)
	}
}

type recorder struct {
	header http.Header
	status int
	body   json.RawMessage
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(s int)   { r.status = s }

func (r *recorder) Write(b []byte) (int, error) {
	r.body = append(r.body, b...)
	return len(b), nil
}
