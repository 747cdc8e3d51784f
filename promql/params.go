package promql

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/promql/cost"
)

// The times that clients of Prometheus send for "all there is" (client_golang
// has them as constants), in milliseconds. Anything beyond is refused.
const (
	minTime = (math.MinInt64/1000 + 62135596801) * 1000
	maxTime = (math.MaxInt64/1000-62135596801)*1000 + 999
)

const (
	// Written by formatting the bounds, which have years of nine digits that no parser takes.
	minTimeText = "-292273086-05-16T16:47:06Z"
	maxTimeText = "292277025-08-18T07:12:54.999999999Z"
)

const maxPoints = 11_000 // steps of a range query

// parseTime reads Unix seconds, whole or fractional, or RFC 3339.
func parseTime(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		whole, frac := math.Modf(f)
		if !(whole >= minTime/1000 && whole <= maxTime/1000) {
			return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp: out of range", s)
		}
		return time.UnixMilli(int64(whole)*1000 + int64(math.Round(frac*1000))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	switch s {
	case minTimeText:
		return time.UnixMilli(minTime).UTC(), nil
	case maxTimeText:
		return time.UnixMilli(maxTime).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", s)
}

// checkEngineTime refuses times that the engine would turn into others: it counts
// nanoseconds since 1970 in 64 bits.
func checkEngineTime(name string, t time.Time) error {
	if ms := t.UnixMilli(); ms < math.MinInt64/1_000_000+1 || ms > math.MaxInt64/1_000_000-1 {
		return badParam(name, fmt.Errorf("queries can be evaluated between the years 1678 and 2262, %s is outside", t.Format(time.RFC3339)))
	}
	return nil
}

// timeParam reads an optional time.
func timeParam(r *http.Request, name string, absent time.Time) (time.Time, error) {
	s := r.Form.Get(name)
	if s == "" {
		return absent, nil
	}
	t, err := parseTime(s)
	if err != nil {
		return t, badParam(name, fmt.Errorf("invalid time value for '%s': %w", name, err))
	}
	return t, nil
}

// spanParams reads the optional start and end of a lookup, in milliseconds.
func spanParams(r *http.Request) (mint, maxt int64, err error) {
	start, err := timeParam(r, "start", time.UnixMilli(minTime))
	if err != nil {
		return 0, 0, err
	}
	end, err := timeParam(r, "end", time.UnixMilli(maxTime))
	return start.UnixMilli(), end.UnixMilli(), err
}

// parseDuration reads seconds, whole or fractional, or Prometheus's form: 1h30m.
func parseDuration(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		ns := f * float64(time.Second)
		if !(ns >= math.MinInt64 && ns < math.MaxInt64) {
			return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", s)
		}
		return time.Duration(ns), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", s)
}

// limitParam reads limit; 0 means that there is none.
func limitParam(r *http.Request) (int, error) {
	s := r.Form.Get("limit")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err == nil && n < 0 {
		err = errors.New("limit must be non-negative")
	}
	if err != nil {
		return 0, badParam("limit", err)
	}
	return n, nil
}

// oneMore is the limit to ask storage for, so that a result that was cut shows.
func oneMore(limit int) int {
	if limit > 0 && limit < math.MaxInt {
		return limit + 1
	}
	return limit
}

var errTruncated = errors.New("results truncated due to limit")

// timeoutParam reads timeout; the shorter one of it and the API's own holds.
func (a *API) timeoutParam(r *http.Request) (time.Duration, error) {
	s := r.Form.Get("timeout")
	if s == "" {
		return a.o.Timeout, nil
	}
	d, err := parseDuration(s)
	if err == nil && d <= 0 {
		err = fmt.Errorf("timeout must be positive, got %s", d)
	}
	if err != nil {
		return 0, badParam("timeout", err)
	}
	return min(d, a.o.Timeout), nil
}

// matchParam reads the selectors of match[], which may be missing. Each must have a matcher
// that the empty string does not satisfy, so that nobody asks for everything by mistake.
func (a *API) matchParam(r *http.Request) ([][]*labels.Matcher, error) {
	if err := cost.Text(r.Form["match[]"]...); err != nil {
		return nil, err
	}
	sets, err := a.parser.ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		if !narrows(set) {
			return nil, errors.New("match[] must contain at least one non-empty matcher")
		}
	}
	return sets, nil
}

func narrows(set []*labels.Matcher) bool {
	for _, m := range set {
		if m != nil && !m.Matches("") {
			return true
		}
	}
	return false
}

// parseExpr parses the parameter query.
func (a *API) parseExpr(r *http.Request) (parser.Expr, error) {
	q := r.Form.Get("query")
	if err := cost.Text(q); err != nil {
		return nil, err
	}
	return a.parser.ParseExpr(q)
}
