package promql

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

func TestBoundsOfTime(t *testing.T) {
	for text, ms := range map[string]int64{minTimeText: minTime, maxTimeText: maxTime} {
		got, err := parseTime(text)
		if err != nil || got.UnixMilli() != ms {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if got := time.UnixMilli(minTime).UTC().Format(time.RFC3339Nano); got != minTimeText {
		t.Errorf("the first time is %s", got)
	}
	if got := time.UnixMilli(maxTime).Add(999_999).UTC().Format(time.RFC3339Nano); got != maxTimeText {
		t.Errorf("the last time is %s", got)
	}
}

func TestParseTime(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1.5": 1500, "-1.5": -1500, "1700000000.0004": 1_700_000_000_000, "1700000000.0006": 1_700_000_000_001,
		"1970-01-01T00:00:01Z": 1000, "1e3": 1_000_000, "0.9999": 1000,
	} {
		if got, err := parseTime(in); err != nil || got.UnixMilli() != want {
			t.Errorf("%s: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "NaN", "Inf", "-Inf", "1e300", "1e19", "-1e19", "9223372036854775807", "tomorrow", "2023-11-14"} {
		if got, err := parseTime(in); err == nil {
			t.Errorf("%q became %v", in, got)
		}
	}
	for ms := int64(1_700_000_000_000); ms < 1_700_000_010_000; ms++ {
		b := appendTime(nil, ms)
		if got, err := parseTime(string(b)); err != nil || got.UnixMilli() != ms {
			t.Fatalf("%s: got %v, %v", b, got, err)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"0", "1700000000.123", "-1", "2023-11-14T22:13:20Z", minTimeText, maxTimeText, "NaN", "1e300", "0x1p10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTime(s)
		if err != nil {
			return
		}
		if ms := got.UnixMilli(); ms < minTime || ms > maxTime {
			t.Errorf("%q became %d, out of range", s, ms)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"1", "0.5", "1h30m", "1y", "NaN", "Inf", "1e300", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseDuration(s)
		if err != nil {
			return
		}
		if want, err := model.ParseDuration(s); err == nil && time.Duration(want) != got && s != "0" {
			t.Errorf("%q became %v, want %v", s, got, want)
		}
	})
}

// Whatever the parameters are, there is an answer with a status that is not 5xx.
func FuzzRequest(f *testing.F) {
	f.Add("query", "query=up&time=1")
	f.Add("query_range", "query=sum(rate(a[5m]))&start=0&end=100&step=15s&limit=2&timeout=1s&stats=all&lookback_delta=1m")
	f.Add("series", "match[]={a=~\".+\"}&start=1&limit=1")
	f.Add("labels", "match[]=up&end=2023-11-14T22:13:20Z")
	f.Add("label/U__a_2e_b/values", "match[]=a&match[]=b")
	f.Add("query_exemplars", "query=a+b&start=1")
	f.Add("format_query", "query=sum by (x) (a)")
	f.Add("parse_query", "query=a[5m:1m] @ start() offset 5m")
	f.Add("metadata", "limit=1&limit_per_metric=x")
	f.Add("status/tsdb", "limit=3")
	a := NewAPI(Options{Queryable: emptyStore{}, Timeout: 5 * time.Second, MaxSamples: 1000})
	f.Cleanup(func() { a.Close() })
	h := a.Handler()
	f.Fuzz(func(t *testing.T, path, query string) {
		for _, r := range []*http.Request{
			{Method: http.MethodGet, URL: &url.URL{Path: "/api/v1/" + path, RawQuery: query}, Header: http.Header{}, Body: http.NoBody},
			httptest.NewRequest(http.MethodPost, "/api/v1/query", strings.NewReader(query)),
		} {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Errorf("%s?%s: %d %s", path, query, w.Code, w.Body)
			}
		}
	})
}

func FuzzSelector(f *testing.F) {
	for _, s := range []string{"a", `{a="b"}`, `{"ü"=~"x|y",b!=""}`, "{}", "{", `{a=~"("}`} {
		f.Add(s)
	}
	a := NewAPI(Options{})
	f.Cleanup(func() { a.Close() })
	f.Fuzz(func(t *testing.T, s string) {
		sets, err := a.matchParam(&http.Request{Form: url.Values{"match[]": {s}}})
		if err == nil && (len(sets) != 1 || !narrows(sets[0])) {
			t.Errorf("%q became %v", s, sets)
		}
	})
}

func TestTreeOfUnknownNode(t *testing.T) {
	if got := tree(&parser.StepInvariantExpr{}); got.(object)["type"] != "*parser.StepInvariantExpr" {
		t.Error(got)
	}
}

func TestSlots(t *testing.T) {
	s := newSlots(1)
	if _, err := s.Insert(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Insert(late, ""); classify(err).typ != errTimeout {
		t.Errorf("too late: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Insert(gone, ""); classify(err).typ != errCanceled {
		t.Errorf("canceled: %v", err)
	}
	s.Delete(0)
	if _, err := s.Insert(gone, ""); err != nil {
		t.Errorf("a free slot: %v", err)
	}
}
