package format

import (
	"encoding/json"
	"errors"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/minitrue/minitrue/chunk/series"
)

func jsonHistograms(hs []series.Histogram) []jsonHistogram {
	out := make([]jsonHistogram, len(hs))
	for i, h := range hs {
		if h.Int != nil {
			out[i] = fromInt(h.T, h.Int)
		} else {
			out[i] = fromFloat(h.T, h.Float)
		}
	}
	return out
}

// raw is JSON of what always has some.
func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and lists of them
	}
	return b
}

func list[T any](v []T) json.RawMessage {
	if len(v) == 0 {
		return nil
	}
	return raw(v)
}

func fromInt(t int64, h *histogram.Histogram) jsonHistogram {
	return jsonHistogram{
		T: t, Hint: h.CounterResetHint, Schema: h.Schema, Threshold: num(h.ZeroThreshold), Sum: num(h.Sum),
		Count: raw(h.Count), Zero: raw(h.ZeroCount), PosSpans: spans(h.PositiveSpans), NegSpans: spans(h.NegativeSpans),
		Pos: list(h.PositiveBuckets), Neg: list(h.NegativeBuckets), Custom: nums(h.CustomValues),
	}
}

func fromFloat(t int64, h *histogram.FloatHistogram) jsonHistogram {
	return jsonHistogram{
		T: t, Float: true, Hint: h.CounterResetHint, Schema: h.Schema, Threshold: num(h.ZeroThreshold), Sum: num(h.Sum),
		Count: raw(num(h.Count)), Zero: raw(num(h.ZeroCount)), PosSpans: spans(h.PositiveSpans), NegSpans: spans(h.NegativeSpans),
		Pos: list(nums(h.PositiveBuckets)), Neg: list(nums(h.NegativeBuckets)), Custom: nums(h.CustomValues),
	}
}

func spans(s []histogram.Span) []jsonSpan {
	out := make([]jsonSpan, len(s))
	for i := range s {
		out[i] = jsonSpan(s[i])
	}
	return out
}

func nums(v []float64) []num {
	out := make([]num, len(v))
	for i := range v {
		out[i] = num(v[i])
	}
	return out
}

// histogram is what the JSON says, checked.
func (j *jsonHistogram) histogram() (series.Histogram, error) {
	h := series.Histogram{T: j.T}
	if j.Float {
		var count, zero num
		var pos, neg []num
		err := errors.Join(parse(j.Count, &count), parse(j.Zero, &zero), parse(j.Pos, &pos), parse(j.Neg, &neg))
		if err != nil {
			return h, err
		}
		h.Float = &histogram.FloatHistogram{
			CounterResetHint: j.Hint, Schema: j.Schema, ZeroThreshold: float64(j.Threshold), Sum: float64(j.Sum),
			Count: float64(count), ZeroCount: float64(zero), PositiveSpans: toSpans(j.PosSpans), NegativeSpans: toSpans(j.NegSpans),
			PositiveBuckets: floats(pos), NegativeBuckets: floats(neg), CustomValues: floats(j.Custom),
		}
		return h, h.Float.Validate()
	}
	h.Int = &histogram.Histogram{
		CounterResetHint: j.Hint, Schema: j.Schema, ZeroThreshold: float64(j.Threshold), Sum: float64(j.Sum),
		PositiveSpans: toSpans(j.PosSpans), NegativeSpans: toSpans(j.NegSpans), CustomValues: floats(j.Custom),
	}
	err := errors.Join(parse(j.Count, &h.Int.Count), parse(j.Zero, &h.Int.ZeroCount), parse(j.Pos, &h.Int.PositiveBuckets), parse(j.Neg, &h.Int.NegativeBuckets))
	if err != nil {
		return h, err
	}
	return h, h.Int.Validate()
}

func parse(b json.RawMessage, v any) error {
	if len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, v)
}

func toSpans(s []jsonSpan) []histogram.Span {
	if len(s) == 0 {
		return nil
	}
	out := make([]histogram.Span, len(s))
	for i := range s {
		out[i] = histogram.Span(s[i])
	}
	return out
}

func floats(v []num) []float64 {
	if len(v) == 0 {
		return nil
	}
	out := make([]float64, len(v))
	for i := range v {
		out[i] = float64(v[i])
	}
	return out
}
