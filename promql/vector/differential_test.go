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

// question is a query at one time or several.
type question struct {
	text       string
	start, end time.Time
	step       time.Duration // 0: instant
	lookback   time.Duration
}

// randomQuestion makes a query up.
func randomQuestion(r *rand.Rand) question {
	q := quizOf(r).Question()
	return question{q.Text, q.Start, q.End, q.Step, q.Lookback}
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
				q := randomQuestion(r)
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
