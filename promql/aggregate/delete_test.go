package aggregate_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql/aggregate"
)

// deleter notes what it is asked for.
type deleter struct {
	got string
	err error
}

func (d *deleter) Delete(_ context.Context, mint, maxt int64, ms ...*labels.Matcher) (int, error) {
	d.got = fmt.Sprint(mint, " ", maxt, " ", ms)
	return 3, d.err
}

func TestDelete(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	d := &deleter{}
	server := httptest.NewServer(aggregate.NewDeleteHandler(d, aggregate.Options{Now: func() time.Time { return now }}))
	defer server.Close()
	rows := []struct {
		body string
		code int
		want string // what is deleted
	}{
		{`{"device_id":"a","metric_name":"m","start_time":1699999000,"end_time":1699999999}`, 200, `1699999000000 1699999999000 [__name__="m" device_id="a"]`},
		{`{"device_id":"a","end_time":"now-1h"}`, 200, fmt.Sprint(int64(-1)<<62, ` 1699996400000 [device_id="a"]`)},
		{`{"matchers":"m{site=~\"x|y\"}","start_time":"now-1d"}`, 200, `1699913600000 1700000000000 [site=~"x|y" __name__="m"]`},
		{`{"matchers":"{site=~\".*\"}"}`, 400, ""},
		{`{}`, 400, ""},
		{`{"metric_name":"m","operation":"avg"}`, 400, ""},
		{`{"metric_name":"m","start_time":5,"end_time":4}`, 400, ""},
		{`{"metric_name":"m","until":4}`, 400, ""},
		{`[`, 400, ""},
	}
	for _, r := range rows {
		d.got = ""
		resp, err := http.Post(server.URL, "application/json", strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != r.code || d.got != r.want || (r.code == 200) != (string(body) == "{\"series\":3}\n") {
			t.Errorf("%s: %d %s, deleted %q, want %d and %q", r.body, resp.StatusCode, body, d.got, r.code, r.want)
		}
	}
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"} {
		d.got = ""
		req, _ := http.NewRequest("POST", server.URL, strings.NewReader(rows[0].body))
		req.Header.Set(header, value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden || d.got != "" {
			t.Errorf("from another site: %d, deleted %q", resp.StatusCode, d.got)
		}
	}
	d.err = series.ErrUnavailable
	resp, err := http.Post(server.URL, "", strings.NewReader(rows[0].body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a store that takes no writes: %d, %v", resp.StatusCode, resp.Header)
	}
}
