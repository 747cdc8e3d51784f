package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/promql/vector"
)

// columns are a source as the vectorised path of PromQL reads it.
type columns struct{ scannerOf }

func (c columns) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (vector.Selection, error) {
	sel, err := c.scannerOf.Scan(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return sel, nil
}

// promAsker evaluates PromQL over one store, or through a node of a cluster.
type promAsker struct {
	engine prom.QueryEngine
	over   storage.Queryable
	reg    *prometheus.Registry
}

func newProm() *prom.Engine {
	return prom.NewEngine(prom.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		Parser: parser.NewParser(parser.Options{}),
	})
}

// asker asks by the node's own engine, which leaves to others what it can.
func (n *readNode) asker() promAsker {
	reg := prometheus.NewRegistry()
	return promAsker{vector.New(newProm(), columns{n.reader}, vector.Options{Scatter: n.reader, Registerer: reg}), n.reader, reg}
}

// outcomes counts aggregations by what became of them.
func (a promAsker) outcomes(t testing.TB) map[string]int {
	t.Helper()
	families, err := a.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "minitrue_promql_scattered_aggregations_total" {
				out[m.Label[0].GetValue()] = int(m.Counter.GetValue())
			}
		}
	}
	return out
}

// promQuestion is a query at one time or several.
type promQuestion struct {
	text       string
	start, end time.Time
	step       time.Duration // 0: instant
}

func (q promQuestion) String() string {
	return fmt.Sprintf("%s from %d to %d step %v", q.text, q.start.UnixMilli()-firstTime, q.end.UnixMilli()-firstTime, q.step)
}

func (q promQuestion) ask(ctx context.Context, a promAsker) *prom.Result {
	var query prom.Query
	var err error
	if q.step == 0 {
		query, err = a.engine.NewInstantQuery(ctx, a.over, nil, q.text, q.start)
	} else {
		query, err = a.engine.NewRangeQuery(ctx, a.over, nil, q.text, q.start, q.end, q.step)
	}
	if err != nil {
		return &prom.Result{Err: err}
	}
	return query.Exec(ctx)
}

// randomAggregation is a query with an aggregation, sometimes with more around it.
func randomAggregation(r *rand.Rand) promQuestion {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	selector := one("temperature", "requests_total", "temperature", "requests_total", "latency", `temperature{site="s1"}`, `requests_total{device_id=~"d[0-3]"}`,
		`temperature{job="x"}`, `{__name__=~"temperature|requests_total"}`, "nothing")
	modifier := one("", "", "", " offset 47m", " offset -10m", fmt.Sprintf(" @ %d", (firstTime+r.Int64N(lastTime-firstTime))/1000))
	leaf := selector + modifier
	if r.IntN(4) > 0 {
		leaf = fmt.Sprintf("%s(%s[%s]%s)", one("rate", "increase", "delta", "sum_over_time", "count_over_time", "avg_over_time", "min_over_time", "max_over_time", "last_over_time", "present_over_time"),
			selector, one("5m", "17m", "1h", "3h", "5h"), modifier)
	}
	grouped := func() string {
		return one("", " by (site)", " by (device_id)", " without (device_id)", " by (__name__)", " by (nothing)", " by (site, job)")
	}
	text := one("sum", "count", "avg", "min", "max", "group") + grouped() + " (" + leaf + ")"
	switch r.IntN(8) {
	case 0:
		text = "sum by (site) (" + leaf + ") / count by (site) (" + leaf + ")"
	case 1:
		text = "abs(" + text + ") > 1"
	case 2, 3:
		text = fmt.Sprintf("%s%s (%d, %s)", one("topk", "bottomk"), grouped(), 1+r.IntN(4), leaf)
	case 4:
		text = fmt.Sprintf("sum(%s%s (%d, %s))", one("topk", "bottomk"), grouped(), 1+r.IntN(4), leaf)
	}
	q := promQuestion{text: text, start: time.UnixMilli(firstTime + r.Int64N(lastTime-firstTime))}
	q.end = q.start
	if r.IntN(3) > 0 {
		q.step = []time.Duration{time.Minute, 7 * time.Minute, 31 * time.Second, time.Hour}[r.IntN(4)]
		q.end = q.start.Add(time.Duration(r.IntN(150)) * q.step)
	}
	return q
}

// differs says in what the answer of a cluster differs from that of Prometheus's engine over one store. Between +0 and −0, and between equal
// points of topk and bottomk, it is the order of series that decides, and there is none in a cluster.
func (q promQuestion) differs(got *prom.Result, oracle promAsker) error {
	want := q.ask(context.Background(), oracle)
	switch {
	case got.Err != nil && want.Err != nil && got.Err.Error() == want.Err.Error():
		return nil
	case got.Err != nil || want.Err != nil:
		return fmt.Errorf("error %v, want %v", got.Err, want.Err)
	}
	if g, w := remarks(q, got), remarks(q, want); !slices.Equal(g, w) {
		return fmt.Errorf("annotations %q, want %q", g, w)
	}
	g, w := sortedMatrix(got.Value), sortedMatrix(want.Value)
	if a, ok := parsed(q.text).(*parser.AggregateExpr); ok && a.Op.IsAggregatorWithParam() {
		return q.ranksDiffer(a, g, w, oracle)
	}
	if len(g) != len(w) {
		return fmt.Errorf("%d series, want %d\ngot  %.900v\nwant %.900v", len(g), len(w), got.Value, want.Value)
	}
	for i := range w {
		if g[i].Metric.String() != w[i].Metric.String() || len(g[i].Floats) != len(w[i].Floats) || len(g[i].Histograms) != len(w[i].Histograms) {
			return fmt.Errorf("series %d: %s with %d points, want %s with %d", i, g[i].Metric, len(g[i].Floats), w[i].Metric, len(w[i].Floats))
		}
		for k, p := range w[i].Floats {
			if o := g[i].Floats[k]; o.T != p.T || !nearly(o.F, p.F) {
				return fmt.Errorf("%s: point %d is %v at %d, want %v at %d", w[i].Metric, k, o.F, o.T, p.F, p.T)
			}
		}
	}
	return nil
}

func nearly(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= max(1e-12*math.Abs(b), 1e-9)
}

func parsed(text string) parser.Expr {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		panic(err)
	}
	return e
}

// ranksDiffer compares topk and bottomk: each point must be one of what they are about, and each group must have the values that it
// is to have at each step.
func (q promQuestion) ranksDiffer(a *parser.AggregateExpr, got, want prom.Matrix, oracle promAsker) error {
	all := q
	all.text = a.Expr.String()
	points := map[string]map[int64]float64{}
	for _, s := range sortedMatrix(all.ask(context.Background(), oracle).Value) {
		points[s.Metric.String()] = map[int64]float64{}
		for _, p := range s.Floats {
			points[s.Metric.String()][p.T] = p.F
		}
	}
	for _, s := range got {
		for _, p := range s.Floats {
			if v, ok := points[s.Metric.String()][p.T]; !ok || !nearly(p.F, v) {
				return fmt.Errorf("%s is %v at %d, and of all %v", s.Metric, p.F, p.T, v)
			}
		}
	}
	g, w := groupedValues(a, got), groupedValues(a, want)
	for _, k := range slices.Sorted(maps.Keys(w)) {
		if !slices.EqualFunc(g[k], w[k], nearly) {
			return fmt.Errorf("group and time %s: %v, want %v", k, g[k], w[k])
		}
	}
	if len(g) != len(w) {
		return fmt.Errorf("%d groups and times, want %d", len(g), len(w))
	}
	return nil
}

// groupedValues are the values of each group and time, sorted.
func groupedValues(a *parser.AggregateExpr, m prom.Matrix) map[string][]float64 {
	out := map[string][]float64{}
	for _, s := range m {
		b := labels.NewBuilder(s.Metric)
		if a.Without {
			b.Del(append([]string{"__name__"}, a.Grouping...)...)
		} else {
			b.Keep(a.Grouping...)
		}
		for _, p := range s.Floats {
			k := fmt.Sprint(b.Labels(), p.T)
			out[k] = append(out[k], p.F)
		}
	}
	for _, vs := range out {
		slices.Sort(vs)
	}
	return out
}

func remarks(q promQuestion, r *prom.Result) []string {
	warnings, infos := r.Warnings.AsStrings(q.text, 0, 0)
	all := append(warnings, infos...)
	slices.SortFunc(all, strings.Compare)
	return all
}

func sortedMatrix(v parser.Value) prom.Matrix {
	var m prom.Matrix
	switch v := v.(type) {
	case prom.Matrix:
		m = slices.Clone(v)
	case prom.Vector:
		for _, s := range v {
			m = append(m, prom.Series{Metric: s.Metric, Floats: []prom.FPoint{{T: s.T, F: s.F}}})
		}
	}
	slices.SortFunc(m, func(a, b prom.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return m
}
