package vector

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

var (
	seed  = flag.Uint64("vector.seed", 1, "seed of the first data set")
	seeds = flag.Int("vector.seeds", 3, "data sets, with 400 queries each")
)

// asker makes up queries.
type asker struct{ *rand.Rand }

func (a asker) one(of ...string) string { return of[a.IntN(len(of))] }

func (a asker) selector() string {
	return a.one("requests_total", "temperature", "drift", "odd_total", "requests_total", "temperature", `{__name__=~"temperature|drift"}`, `temperature{site="a"}`,
		`requests_total{rack=~".+"}`, `drift{site!="b"}`, `{site="c"}`, "nothing", `requests_total{device="d1"}`, `{__name__="requests_total",device=~"d[0-2]"}`)
}

func (a asker) modifiers() string {
	return a.one("", "", "", "", " offset 7m", " offset -3m", fmt.Sprintf(" @ %d", (dataStart+a.Int64N(dataSpan))/1000), " @ start()", " @ end() offset 90s", " offset 1h")
}

func (a asker) leaf() string {
	if a.IntN(4) == 0 {
		return a.selector() + a.modifiers()
	}
	f := a.one("rate", "increase", "delta", "sum_over_time", "count_over_time", "avg_over_time", "min_over_time", "max_over_time", "last_over_time", "present_over_time")
	return fmt.Sprintf("%s(%s[%s]%s)", f, a.selector(), a.one("1m", "5m", "17s", "30m", "1h", "3h", "13m7s", "2h"), a.modifiers())
}

func (a asker) shape() string {
	if a.IntN(3) == 0 {
		return a.leaf()
	}
	op := a.one("sum", "count", "avg", "min", "max", "group")
	return op + a.one("", " by (site)", " by (device)", " without (device)", " by (site, rack)", " by (nothing)", " by (__name__)", " without (site, rack)", " by (__type__, site)") + " (" + a.leaf() + ")"
}

func (a asker) tree() string {
	switch a.IntN(9) {
	case 0:
		return fmt.Sprintf("%s / %s", a.shape(), a.shape())
	case 1:
		return fmt.Sprintf("sum by (site) (%s) / sum by (site) (%s) > 0", a.leaf(), a.leaf())
	case 2:
		return fmt.Sprintf("topk(2, %s)", a.shape())
	case 3:
		return fmt.Sprintf("-(%s) or %s", a.shape(), a.shape())
	case 4:
		return fmt.Sprintf("abs(%s) > %g", a.shape(), a.Float64()*100)
	case 5:
		return fmt.Sprintf("max_over_time((%s)[20m:3m])", a.shape())
	case 6:
		return fmt.Sprintf("quantile(0.7, %s)", a.leaf())
	case 7:
		return a.one("absent", "timestamp", "sort", "scalar", "ceil") + "(" + a.shape() + ")"
	}
	return fmt.Sprintf("%s unless on (site) %s", a.shape(), a.shape())
}

// question is a query at one time or several.
type question struct {
	text       string
	start, end time.Time
	step       time.Duration // 0: instant
	lookback   time.Duration
}

func (a asker) question() question {
	q := question{text: a.shape()}
	if a.IntN(4) == 0 {
		q.text = a.tree()
	}
	if a.IntN(5) == 0 {
		q.lookback = time.Duration(1+a.IntN(1200)) * time.Second
	}
	at := func() int64 {
		t := dataStart + a.Int64N(dataSpan+20*60*1000)
		return t - t%[]int64{1, 5000, 60_000}[a.IntN(3)]
	}
	q.start = time.UnixMilli(at())
	q.end = q.start
	if a.IntN(2) == 0 {
		q.step = []time.Duration{time.Second * 15, time.Minute, 7 * time.Minute, time.Hour, 61 * time.Second}[a.IntN(5)]
		q.end = q.start.Add(time.Duration(a.IntN(100)) * q.step)
	}
	return q
}

func (q question) ask(t testing.TB, e prom.QueryEngine, s scanner) *prom.Result {
	t.Helper()
	o := prom.NewPrometheusQueryOpts(false, q.lookback, nil)
	var query prom.Query
	var err error
	if q.step == 0 {
		query, err = e.NewInstantQuery(t.Context(), s, o, q.text, q.start)
	} else {
		query, err = e.NewRangeQuery(t.Context(), s, o, q.text, q.start, q.end, q.step)
	}
	if err != nil {
		t.Fatalf("%s: %v", q.text, err)
	}
	return query.Exec(t.Context())
}

func newProm(maxSamples int) *prom.Engine {
	return prom.NewEngine(prom.EngineOpts{
		MaxSamples: maxSamples, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 60_000 }, Parser: parser.NewParser(parser.Options{}),
	})
}

// Over random data random queries have the answers of Prometheus's engine, whether statistics are used or not.
func TestAnswersAsPrometheus(t *testing.T) {
	below := newProm(50_000_000)
	for k := range *seeds {
		seed := *seed + uint64(k)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			s := scanner{randomStore(t, r)}
			fast, exact := New(below, s, Options{}), New(below, s, Options{})
			exact.samples = true
			failed := 0
			for range 400 {
				q := asker{r}.question()
				want := q.ask(t, below, s)
				for name, e := range map[string]*Engine{"statistics": fast, "samples": exact} {
					if err := differ(q, q.ask(t, e, s), want); err != nil {
						t.Errorf("%s, %s from %d to %d step %v lookback %v: %v", name, q.text, q.start.UnixMilli(), q.end.UnixMilli(), q.step, q.lookback, err)
						if failed++; failed > 10 {
							t.FailNow()
						}
					}
				}
			}
		})
	}
}

// differ tells in what an answer differs from another.
func differ(q question, got, want *prom.Result) error {
	if (got.Err == nil) != (want.Err == nil) || got.Err != nil && got.Err.Error() != want.Err.Error() {
		return fmt.Errorf("error %v, want %v", got.Err, want.Err)
	}
	if got.Err != nil {
		return nil
	}
	g, w := notes(q, got), notes(q, want)
	if !slices.Equal(g, w) {
		return fmt.Errorf("annotations %q, want %q", g, w)
	}
	gm, wm := matrix(got.Value), matrix(want.Value)
	if len(gm) != len(wm) {
		return fmt.Errorf("%d series, want %d\ngot  %.600v\nwant %.600v", len(gm), len(wm), got.Value, want.Value)
	}
	for i := range wm {
		if gm[i].Metric.String() != wm[i].Metric.String() || len(gm[i].Floats) != len(wm[i].Floats) || len(gm[i].Histograms) != len(wm[i].Histograms) {
			return fmt.Errorf("series %d: %s with %d points, want %s with %d", i, gm[i].Metric, len(gm[i].Floats), wm[i].Metric, len(wm[i].Floats))
		}
		for k, p := range wm[i].Floats {
			if o := gm[i].Floats[k]; o.T != p.T || !near(o.F, p.F) {
				return fmt.Errorf("%s: point %d is %v at %d, want %v at %d", wm[i].Metric, k, o.F, o.T, p.F, p.T)
			}
		}
	}
	return nil
}

func near(a, b float64) bool {
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		return math.IsNaN(a) && math.IsNaN(b)
	case a == b:
		return math.Signbit(a) == math.Signbit(b)
	}
	// What trees subtract has lost its first digits: 1e-9 is 1e-12 of the values of the data.
	return math.Abs(a-b) <= max(1e-12*max(math.Abs(a), math.Abs(b)), 1e-9)
}

func notes(q question, r *prom.Result) []string {
	warnings, infos := r.Warnings.AsStrings(q.text, 0, 0)
	all := append(warnings, infos...)
	slices.SortFunc(all, strings.Compare)
	return all
}

func matrix(v parser.Value) prom.Matrix {
	switch v := v.(type) {
	case prom.Matrix:
		return v
	case prom.Vector:
		var m prom.Matrix
		for _, s := range v {
			m = append(m, prom.Series{Metric: s.Metric, Floats: []prom.FPoint{{T: s.T, F: s.F}}})
		}
		return m
	case prom.Scalar:
		return prom.Matrix{{Floats: []prom.FPoint{{T: v.T, F: v.V}}}}
	}
	panic(fmt.Sprintf("%T", v))
}
