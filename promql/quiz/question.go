package quiz

import (
	"fmt"
	"time"
)

// Question is a PromQL query at one time or several.
type Question struct {
	Text       string
	Start, End time.Time
	Step       time.Duration // 0: instant
	Lookback   time.Duration // 0: as ever
}

func (q Question) String() string {
	return fmt.Sprintf("%s from %d to %d step %v lookback %v", q.Text, q.Start.UnixMilli(), q.End.UnixMilli(), q.Step, q.Lookback)
}

func (q Quiz) one(of ...string) string { return of[q.IntN(len(of))] }

// Selector is one of some series.
func (q Quiz) Selector() string {
	if !q.Orderless && q.IntN(6) == 0 {
		return Spiky
	}
	return q.one("requests_total", "celsius", "drift", "odd_total", "requests_total", "celsius", `{__name__=~"celsius|drift"}`, `celsius{site="a"}`,
		`requests_total{rack=~".+"}`, `drift{site!="b"}`, `{site="c"}`, "nothing", `requests_total{device_id="d1"}`, `{__name__="requests_total",device_id=~"d[0-2]"}`)
}

func (q Quiz) modifiers() string {
	return q.one("", "", "", "", " offset 7m", " offset -3m", fmt.Sprintf(" @ %d", (q.Start+q.Int64N(q.Span))/1000), " @ start()", " @ end() offset 90s", " offset 1h")
}

func (q Quiz) leaf() string {
	if q.IntN(4) == 0 {
		return q.Selector() + q.modifiers()
	}
	f := q.one("rate", "increase", "delta", "sum_over_time", "count_over_time", "avg_over_time", "min_over_time", "max_over_time", "last_over_time", "present_over_time")
	return fmt.Sprintf("%s(%s[%s]%s)", f, q.Selector(), q.window(), q.modifiers())
}

func (q Quiz) window() string {
	return q.one("1m", "5m", "17s", "30m", "1h", "3h", "13m7s", "2h")
}

func (q Quiz) grouped() string {
	return q.one("", " by (site)", " by (device_id)", " without (device_id)", " by (site, rack)", " by (nothing)", " by (__name__)", " without (site, rack)", " by (__type__, site)")
}

func (q Quiz) shape() string {
	if q.IntN(3) == 0 {
		return q.leaf()
	}
	return q.one("sum", "count", "avg", "min", "max", "group") + q.grouped() + " (" + q.leaf() + ")"
}

// top is a topk or bottomk.
func (q Quiz) top() string {
	if !q.Orderless {
		return fmt.Sprintf("topk(2, %s)", q.shape())
	}
	// No two series of this metric have equal values.
	leaf := q.one("drift", `drift{site!="b"}`) + q.modifiers()
	if q.IntN(4) > 0 {
		leaf = fmt.Sprintf("%s(drift[%s]%s)", q.one("avg_over_time", "sum_over_time", "min_over_time", "max_over_time", "last_over_time"), q.window(), q.modifiers())
	}
	return fmt.Sprintf("%s%s (%d, %s)", q.one("topk", "bottomk"), q.grouped(), 1+q.IntN(4), leaf)
}

func (q Quiz) tree() string {
	switch q.IntN(9) {
	case 0:
		return fmt.Sprintf("%s / %s", q.shape(), q.shape())
	case 1:
		return fmt.Sprintf("sum by (site) (%s) / sum by (site) (%s) > 0", q.leaf(), q.leaf())
	case 2:
		return q.top()
	case 3:
		return fmt.Sprintf("-(%s) or %s", q.shape(), q.shape())
	case 4:
		return fmt.Sprintf("abs(%s) > %g", q.shape(), q.Float64()*100)
	case 5:
		return fmt.Sprintf("max_over_time((%s)[20m:3m])", q.shape())
	case 6:
		return fmt.Sprintf("quantile(0.7, %s)", q.leaf())
	case 7:
		return q.one("absent", "timestamp", "sort", "scalar", "ceil") + "(" + q.shape() + ")"
	}
	return fmt.Sprintf("%s unless on (site) %s", q.shape(), q.shape())
}

// Question makes one up.
func (q Quiz) Question() Question {
	x := Question{Text: q.shape()}
	if q.IntN(4) == 0 {
		x.Text = q.tree()
	}
	if q.IntN(5) == 0 {
		x.Lookback = time.Duration(1+q.IntN(1200)) * time.Second
	}
	x.Start = time.UnixMilli(q.Time())
	x.End = x.Start
	if q.IntN(2) == 0 {
		x.Step = []time.Duration{time.Second * 15, time.Minute, 7 * time.Minute, time.Hour, 61 * time.Second}[q.IntN(5)]
		x.End = x.Start.Add(time.Duration(q.IntN(100)) * x.Step)
	}
	return x
}

// Time is one at which there are samples, or shortly after, in ms.
func (q Quiz) Time() int64 {
	t := q.Start + q.Int64N(q.Span+20*60*1000)
	return t - t%[]int64{1, 5000, 60_000}[q.IntN(3)]
}
