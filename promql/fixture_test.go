package promql_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/minitrue/minitrue/promql"
)

// The known data: an hour of all kinds of series, one point each 15 s.
const (
	dataStart = int64(1_700_000_000_000) // ms
	dataStep  = int64(15_000)            // ms
	dataSteps = 240
)

type point struct {
	v    float64
	h    *histogram.Histogram
	fh   *histogram.FloatHistogram
	x    *exemplar.Exemplar
	none bool
}

type testSeries struct {
	ls labels.Labels
	at func(i int) point
}

func number(f func(i int) float64) func(int) point {
	return func(i int) point { return point{v: f(i)} }
}

func knownData() []testSeries {
	var all []testSeries
	add := func(at func(int) point, ls ...string) {
		all = append(all, testSeries{labels.FromStrings(ls...), at})
	}
	for d := range 10 {
		site := string(rune('a' + d%3))
		add(number(func(i int) float64 { return math.Round(2150+300*math.Sin(float64(i+7*d)/20)) / 100 }),
			"__name__", "temperature", "device_id", fmt.Sprintf("d%d", d), "site", site)
		add(func(i int) point {
			p := point{v: float64((i*(d+1))%(1000+17*d)) * 1.5}
			if i%40 == d {
				p.x = &exemplar.Exemplar{Labels: labels.FromStrings("trace_id", fmt.Sprintf("t%d-%d", d, i)), Value: 0.25 * float64(i), Ts: dataStart + int64(i)*dataStep, HasTs: true}
			}
			return p
		}, "__name__", "requests_total", "device_id", fmt.Sprintf("d%d", d), "code", []string{"200", "404", "500"}[d%3])
	}
	// No −0: Prometheus's remote_write 1.0 encoder, which carries the data there, leaves it out as a zero.
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e-7, 1e21, 1e300, 5e-324, 0.1 + 0.2, -1.5, 1e15, 123456789012345678, math.Pi, 0}
	add(number(func(i int) float64 { return odd[i%len(odd)] }), "__name__", "odd")
	add(func(i int) point {
		switch {
		case i%50 == 30:
			return point{v: math.Float64frombits(value.StaleNaN)}
		case i%50 > 30:
			return point{none: true}
		}
		return point{v: float64(i)}
	}, "__name__", "gappy")
	for k, le := range []string{"0.1", "0.5", "1", "+Inf"} {
		add(number(func(i int) float64 { return float64(i * (k + 1)) }), "__name__", "classic_bucket", "le", le)
	}
	add(func(i int) point { return point{h: tsdbutil.GenerateTestHistogram(int64(i))} }, "__name__", "latency", "job", "int")
	add(func(i int) point { return point{fh: tsdbutil.GenerateTestFloatHistogram(int64(i))} }, "__name__", "latency", "job", "float")
	add(func(i int) point { return point{h: tsdbutil.GenerateTestCustomBucketsHistogram(int64(i))} }, "__name__", "latency", "job", "custom")
	add(func(i int) point { return point{fh: tsdbutil.GenerateTestGaugeFloatHistogram(int64(i))} }, "__name__", "latency_gauge")
	add(func(i int) point {
		if i < 120 {
			return point{v: float64(i)}
		}
		return point{h: tsdbutil.GenerateTestHistogram(int64(i))}
	}, "__name__", "mixed")
	add(number(func(i int) float64 { return float64(i) }), "__name__", "http.status", "größe.m", "ü\"\\\n\t<&>\u2028", "emoji", "🌡️")
	return all
}

// loaded is Prometheus's own storage with the known data.
func loaded(t testing.TB) *teststorage.TestStorage {
	t.Helper()
	s := teststorage.New(t)
	fill(t, s.Appender(t.Context()), 0, dataSteps)
	return s
}

// fill appends and commits the known data of some steps.
func fill(t testing.TB, app storage.Appender, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		ts := dataStart + int64(i)*dataStep
		for _, series := range knownData() {
			p := series.at(i)
			if p.none {
				continue
			}
			var err error
			if p.h != nil || p.fh != nil {
				_, err = app.AppendHistogram(0, series.ls, ts, p.h, p.fh)
			} else {
				_, err = app.Append(0, series.ls, ts, p.v)
			}
			if err != nil {
				t.Fatalf("append %s: %v", series.ls, err)
			}
			if p.x != nil {
				if _, err := app.AppendExemplar(0, series.ls, *p.x); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// serve runs an API over Prometheus's own storage with the known data.
func serve(t testing.TB, o promql.Options) *httptest.Server {
	t.Helper()
	if o.Queryable == nil {
		s := loaded(t)
		o.Queryable, o.Exemplars = s, s
	}
	api := promql.NewAPI(o)
	srv := httptest.NewServer(api.Handler())
	t.Cleanup(func() {
		srv.Close()
		if err := api.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// call is one request; form goes into the address for GET and into the body for POST.
type call struct {
	method, path, form string
}

func (c call) String() string {
	s := c.method + " " + c.path + "?" + c.form
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

func (c call) do(t testing.TB, base string) (*http.Response, []byte) {
	t.Helper()
	address, body := base+c.path, io.Reader(nil)
	if c.method == http.MethodPost {
		body = strings.NewReader(c.form)
	} else if c.form != "" {
		address += "?" + c.form
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// form builds a form from pairs of names and values.
func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}
