package bench

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSummarize(t *testing.T) {
	var ds []time.Duration
	for i := 100; i > 0; i-- {
		ds = append(ds, time.Duration(i)*time.Millisecond)
	}
	if got, want := summarize(ds), (Latency{1, 50, 90, 99, 100}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := summarize(ds[:1]), (Latency{1, 1, 1, 1, 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := summarize(nil); got != (Latency{}) {
		t.Errorf("%+v of nothing", got)
	}
}

func TestMeter(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	m := Meter{PID: os.Getpid(), DataDir: dir}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	for begin := ownCPU(); ownCPU()-begin < 50*time.Millisecond; {
	}
	c, err := m.Stop(1000)
	if err != nil {
		t.Fatal(err)
	}
	if c.CPU < 0.03 || c.RSS < 1<<20 || c.PeakRSS < c.RSS || c.DiskApparent != 10_000 || c.BytesASample != 10 {
		t.Errorf("%+v", c)
	}
	if err := (&Meter{PID: 1 << 30}).Start(); err == nil {
		t.Error("a process that is not there was measured")
	}
	if _, _, err := DiskUsage(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there was measured")
	}
}

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:8080":           "http://127.0.0.1:8080/q",
		"http://h:1/":              "http://h:1/q",
		"https://h/api/v1/receive": "https://h/api/v1/receive",
		"":                         "",
		"http://":                  "",
	} {
		got, err := Endpoint(in, "/q")
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
}

// prometheus answers every question with data, and counts 5 samples for each selector.
func prometheus(t *testing.T) string {
	mux := http.NewServeMux()
	answer := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && !json.Valid(func() []byte { b := make([]byte, r.ContentLength); n, _ := r.Body.Read(b); return b[:n] }()) {
				http.Error(w, "no JSON", http.StatusBadRequest)
				return
			}
			_, _ = w.Write([]byte(body))
		})
	}
	answer("/api/v1/query", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"5"],"values":[[1,"1"],[1700000000.5,"2"]]}]}}`)
	answer("/api/v1/query_range", `{"status":"success","data":{"resultType":"matrix","result":[{},{}]}}`)
	answer("/api/v1/label/device_id/values", `{"status":"success","data":["a","b","c"]}`)
	answer("/api/v1/series", `{"status":"success","data":[{}]}`)
	answer("/query", `{"result":1,"count":360}`)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestAsk(t *testing.T) {
	url := prometheus(t)
	end, err := LastSample(t.Context(), url, time.Now())
	if err != nil || end != 1_700_000_000_500 {
		t.Fatal(end, err)
	}
	qs := append(Questions(100_000, end), Aggregates(end)...)
	reports, err := Ask(t.Context(), QueryOptions{URL: url, Times: 3, PID: os.Getpid()}, qs)
	if err != nil {
		t.Fatal(err)
	}
	want := []int{2, 1, 1, 2, 2, 3, 1, 360, 360}
	for i, r := range reports {
		if r.Results != want[i] || r.Err != "" || r.Latency.Median <= 0 {
			t.Errorf("%s: %+v, want %d results", r.Name, r, want[i])
		}
	}
	if n, err := Count(t.Context(), url, shape); err != nil || n != 500 {
		t.Errorf("counted %d, %v, want 100 selectors × 5", n, err)
	}
}

// A peer that does not have a question is no reason to stop.
func TestAskWithoutAnswer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	reports, err := Ask(t.Context(), QueryOptions{URL: s.URL, Times: 1}, Aggregates(0))
	if err != nil || len(reports) != 2 || reports[0].Err == "" {
		t.Fatalf("%+v, %v", reports, err)
	}
}
