package contest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Point is a value at a time in milliseconds.
type Point struct {
	T int64
	V float64
}

// Answer is what a server said, in a form in which answers can be compared: points by label set. Lists of
// label values and of series have no points.
type Answer map[string][]Point

// parseAnswer reads an answer of the Prometheus API.
func parseAnswer(body []byte) (Answer, error) {
	var a struct {
		Status string
		Data   json.RawMessage
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Status != "success" {
		return nil, fmt.Errorf("the answer is not one of success: %.200s", body)
	}
	var list []json.RawMessage
	if json.Unmarshal(a.Data, &list) == nil {
		return parseList(list)
	}
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  json.RawMessage
			Values []json.RawMessage
		}
	}
	if err := json.Unmarshal(a.Data, &data); err != nil {
		return nil, fmt.Errorf("the answer's data: %w", err)
	}
	out := Answer{}
	for _, r := range data.Result {
		if r.Value != nil {
			r.Values = append(r.Values, r.Value)
		}
		key := labels.FromMap(r.Metric).String()
		if _, ok := out[key]; ok {
			return nil, fmt.Errorf("the series %s comes twice", key)
		}
		points := make([]Point, len(r.Values))
		for i, raw := range r.Values {
			var err error
			if points[i], err = parsePoint(raw); err != nil {
				return nil, fmt.Errorf("series %s: %w", key, err)
			}
		}
		out[key] = points
	}
	return out, nil
}

// parseList reads a list of label values, or of series.
func parseList(list []json.RawMessage) (Answer, error) {
	out := Answer{}
	for _, raw := range list {
		var value string
		var set map[string]string
		if json.Unmarshal(raw, &value) != nil {
			if err := json.Unmarshal(raw, &set); err != nil {
				return nil, fmt.Errorf("an element of the list is neither a value nor a label set: %.200s", raw)
			}
			value = labels.FromMap(set).String()
		}
		if _, ok := out[value]; ok {
			return nil, fmt.Errorf("%s is in the list twice", value)
		}
		out[value] = nil
	}
	return out, nil
}

func parsePoint(raw json.RawMessage) (p Point, err error) {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(raw, &pair); err != nil {
		return p, fmt.Errorf("a point is no pair: %.100s", raw)
	}
	var t model.Time
	var text string
	if err := t.UnmarshalJSON(pair[0]); err != nil {
		return p, err
	}
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return p, err
	}
	p.T = int64(t)
	p.V, err = strconv.ParseFloat(text, 64)
	return p, err
}

// Difference is how two answers differ.
type Difference struct {
	Shape string  // what is in one and not in the other; "" means that both have the same series and times
	Value float64 // the largest relative difference of two values
	Where string  // where that is
}

// compare says how got differs from want.
func compare(want, got Answer) (d Difference) {
	for _, key := range sortedKeys(want) {
		points, ok := got[key]
		if !ok {
			return Difference{Shape: fmt.Sprintf("%s is missing (%d series, want %d)", key, len(got), len(want))}
		}
		if len(points) != len(want[key]) {
			return Difference{Shape: fmt.Sprintf("%s has %d points, want %d", key, len(points), len(want[key]))}
		}
		for i, w := range want[key] {
			g := points[i]
			if g.T != w.T {
				return Difference{Shape: fmt.Sprintf("%s has a point at %d, want %d", key, g.T, w.T)}
			}
			if r := relative(w.V, g.V); r > d.Value {
				d.Value, d.Where = r, fmt.Sprintf("%s at %d is %v, want %v", key, g.T, g.V, w.V)
			}
		}
	}
	for _, key := range sortedKeys(got) {
		if _, ok := want[key]; !ok {
			return Difference{Shape: fmt.Sprintf("%s is there (%d series, want %d)", key, len(got), len(want))}
		}
	}
	return d
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func relative(a, b float64) float64 {
	switch {
	case a == b || math.IsNaN(a) && math.IsNaN(b):
		return 0
	case math.IsNaN(a) || math.IsNaN(b) || math.IsInf(a, 0) || math.IsInf(b, 0):
		return math.Inf(1)
	}
	return math.Abs(a-b) / max(math.Abs(a), math.Abs(b))
}

var metricName = regexp.MustCompile(`^\{` + model.MetricNameLabel + `="[^"]*"(, )?`)

// nameless is the answer without names of metrics, which MetricsQL keeps where PromQL drops them; nil if label
// sets would become equal.
func (a Answer) nameless() Answer {
	out := Answer{}
	for key, points := range a {
		key = metricName.ReplaceAllString(key, "{")
		if _, ok := out[key]; ok {
			return nil
		}
		out[key] = points
	}
	return out
}
