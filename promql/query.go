package promql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/stats"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql/cost"
)

// build makes the query of a request.
type build func(ctx context.Context, o prom.QueryOpts, query string) (prom.Query, error)

func (a *API) query(r *http.Request) (reply, error) {
	limit, err := limitParam(r)
	if err != nil {
		return reply{}, err
	}
	at, err := timeParam(r, "time", a.o.Now())
	if err == nil {
		err = checkEngineTime("time", at)
	}
	if err != nil {
		return reply{}, err
	}
	return a.run(r, limit, func(ctx context.Context, o prom.QueryOpts, query string) (prom.Query, error) {
		return a.engine.NewInstantQuery(ctx, a.o.Queryable, o, query, at)
	})
}

func (a *API) queryRange(r *http.Request) (reply, error) {
	limit, err := limitParam(r)
	if err != nil {
		return reply{}, err
	}
	start, end, step, err := rangeParams(r)
	if err != nil {
		return reply{}, err
	}
	return a.run(r, limit, func(ctx context.Context, o prom.QueryOpts, query string) (prom.Query, error) {
		return a.engine.NewRangeQuery(ctx, a.o.Queryable, o, query, start, end, step)
	})
}

func rangeParams(r *http.Request) (start, end time.Time, step time.Duration, err error) {
	fail := func(name string, err error) (time.Time, time.Time, time.Duration, error) {
		return time.Time{}, time.Time{}, 0, badParam(name, err)
	}
	if start, err = parseTime(r.Form.Get("start")); err != nil {
		return fail("start", err)
	}
	if end, err = parseTime(r.Form.Get("end")); err != nil {
		return fail("end", err)
	}
	if err := cmp.Or(checkEngineTime("start", start), checkEngineTime("end", end)); err != nil {
		return time.Time{}, time.Time{}, 0, err
	}
	if end.Before(start) {
		return fail("end", errors.New("end timestamp must not be before start time"))
	}
	if step, err = parseDuration(r.Form.Get("step")); err != nil {
		return fail("step", err)
	}
	switch {
	case step <= 0:
		return fail("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	case step < time.Millisecond:
		return fail("step", errors.New("the step is under a millisecond, the resolution of timestamps"))
	}
	// Not end.Sub(start): it saturates at 292 years and would let too many points through.
	if ms := float64(end.UnixMilli() - start.UnixMilli()); ms >= (maxPoints+1)*float64(step)/float64(time.Millisecond) {
		err := errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
		return time.Time{}, time.Time{}, 0, badData(err)
	}
	return start, end, step, nil
}

// run builds a query, executes it and replies with its result.
func (a *API) run(r *http.Request, limit int, build build) (reply, error) {
	timeout, err := a.timeoutParam(r)
	if err != nil {
		return reply{}, err
	}
	lookback, err := lookbackParam(r)
	if err != nil {
		return reply{}, err
	}
	text := r.Form.Get("query")
	if err := cost.Text(text); err != nil {
		return reply{}, badParam("query", err)
	}
	resolution, err := resolutionParam(r)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeout(series.AllowResolution(r.Context(), resolution), timeout)
	defer cancel()
	perStep := r.Form.Get("stats") == "all"
	q, err := build(ctx, prom.NewPrometheusQueryOpts(perStep, lookback, nil), text)
	if err != nil {
		return reply{}, unbuilt(err)
	}
	rep := reply{query: text, done: q.Close}
	if s, ok := q.Statement().(*parser.EvalStmt); ok {
		if err := cost.Subqueries(s.Expr, s.End.Sub(s.Start), a.o.SubqueryStep); err != nil {
			return rep, &apiError{typ: errExec, err: err}
		}
	}
	res := q.Exec(ctx)
	if res.Err != nil {
		return rep, res.Err
	}
	value, cut := truncate(res.Value, limit)
	rep.annotations.Merge(res.Warnings)
	if cut {
		rep.annotations.Add(errTruncated)
	}
	var st stats.QueryStats
	switch s := r.Form.Get("stats"); s {
	default:
		rep.annotations.Add(fmt.Errorf("value %q for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\"", s))
		fallthrough
	case "true", "all":
		st = stats.NewQueryStats(q.Stats())
	case "":
	}
	rep.data = func(e *encoder) { e.queryData(value, st) }
	return rep, nil
}

// resolutionParam reads max_source_resolution, which Thanos has too: how long the buckets may be that answer where samples are
// no longer kept, in ms. Without it, or with auto, those may that the query's step allows.
func resolutionParam(r *http.Request) (int64, error) {
	s := r.Form.Get("max_source_resolution")
	if s == "" || s == "auto" {
		return 0, nil
	}
	d, err := parseDuration(s)
	if err == nil && d < 0 {
		err = errors.New("it is negative")
	}
	if err != nil {
		return 0, badParam("max_source_resolution", err)
	}
	return d.Milliseconds(), nil
}

// lookbackParam reads lookback_delta; 0 means the engine's own.
func lookbackParam(r *http.Request) (time.Duration, error) {
	s := r.Form.Get("lookback_delta")
	if s == "" {
		return 0, nil
	}
	d, err := parseDuration(s)
	if err != nil {
		return 0, badData(fmt.Errorf("error parsing lookback delta duration: %w", err))
	}
	return d, nil
}

// truncate keeps the first limit series of a result; 0 keeps all.
func truncate(v parser.Value, limit int) (parser.Value, bool) {
	switch v := v.(type) {
	case prom.Vector:
		if limit > 0 && len(v) > limit {
			return v[:limit], true
		}
	case prom.Matrix:
		if limit > 0 && len(v) > limit {
			return v[:limit], true
		}
	}
	return v, false
}

func (a *API) formatQuery(r *http.Request) (reply, error) {
	expr, err := a.parseExpr(r)
	if err == nil {
		err = cost.Format(expr, r.Form.Get("query"))
	}
	if err != nil {
		return reply{}, badParam("query", err)
	}
	text := expr.Pretty(0)
	return reply{data: func(e *encoder) { e.string(text) }}, nil
}

func (a *API) parseQuery(r *http.Request) (reply, error) {
	expr, err := a.parseExpr(r)
	if err != nil {
		return reply{}, badParam("query", err)
	}
	return jsonReply(tree(expr))
}
