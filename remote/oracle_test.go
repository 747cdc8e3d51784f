package remote

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk/series"
)

// newDecoder has a budget like that of a handler.
func newDecoder() *decoder {
	return &decoder{lease: lease{from: &budget{max: 512 << 20}}}
}

// lines is what a batch holds, one line a series, for comparison.
func lines(b *series.Batch) []string {
	out := make([]string, len(b.Series))
	for i, e := range b.Series {
		var s strings.Builder
		if err := series.EachLabel(e.Key, func(n, v string) { fmt.Fprintf(&s, "%q=%q,", n, v) }); err != nil {
			fmt.Fprint(&s, err)
		}
		for _, p := range b.Samples[e.First : e.First+e.Count] {
			fmt.Fprintf(&s, " %d:%x", p.T, math.Float64bits(p.V))
		}
		out[i] = s.String()
	}
	for _, h := range b.Histograms {
		out[h.Series] += histogramLine(h)
	}
	for _, e := range b.Exemplars {
		out[e.Series] += exemplarLine(e.Exemplar)
	}
	for _, m := range b.Metadata {
		out = append(out, fmt.Sprintf("meta %+v", m))
	}
	return out
}

func histogramLine(h series.Histogram) string {
	if h.Int != nil {
		return fmt.Sprintf(" int %d %d %s sum %x", h.T, h.Int.CounterResetHint, h.Int, math.Float64bits(h.Int.Sum))
	}
	return fmt.Sprintf(" float %d %d %s sum %x", h.T, h.Float.CounterResetHint, h.Float, math.Float64bits(h.Float.Sum))
}

func exemplarLine(e exemplar.Exemplar) string {
	return fmt.Sprintf(" ex %s %x %d %v", e.Labels, math.Float64bits(e.Value), e.Ts, e.HasTs)
}

// linesV1 is what lines must give for a request, by Prometheus's own types.
func linesV1(req *prompb.WriteRequest) (out []string) {
	var sb labels.ScratchBuilder
	for _, ts := range req.Timeseries {
		if len(ts.Samples)+len(ts.Histograms)+len(ts.Exemplars) == 0 {
			continue
		}
		var s strings.Builder
		for _, l := range ts.Labels {
			fmt.Fprintf(&s, "%q=%q,", l.Name, l.Value)
		}
		for _, p := range ts.Samples {
			fmt.Fprintf(&s, " %d:%x", p.Timestamp, math.Float64bits(p.Value))
		}
		for _, h := range ts.Histograms {
			s.WriteString(histogramLine(modelHistogram(h)))
		}
		for _, e := range ts.Exemplars {
			s.WriteString(exemplarLine(e.ToExemplar(&sb, nil)))
		}
		out = append(out, s.String())
	}
	for _, m := range req.Metadata {
		if m.MetricFamilyName != "" {
			typ := model.MetricTypeUnknown // also for numbers that mean nothing
			if prompb.MetricMetadata_MetricType_name[int32(m.Type)] != "" {
				typ = model.MetricType(strings.ToLower(m.Type.String()))
			}
			out = append(out, fmt.Sprintf("meta %+v", series.Metadata{Family: m.MetricFamilyName, Type: typ, Unit: m.Unit, Help: m.Help}))
		}
	}
	return out
}

func modelHistogram(p prompb.Histogram) series.Histogram {
	if p.IsFloatHistogram() {
		return series.Histogram{T: p.Timestamp, Float: p.ToFloatHistogram()}
	}
	return series.Histogram{T: p.Timestamp, Int: p.ToIntHistogram()}
}

// linesV2 is the same for a 2.0 request, or ok false when some reference leads nowhere.
func linesV2(req *writev2.Request) (out []string, ok bool) {
	var sb labels.ScratchBuilder
	var meta []string
	last := map[string]string{}
	for _, ts := range req.Timeseries {
		var s strings.Builder
		name := ""
		for i := 0; i+1 < len(ts.LabelsRefs); i += 2 {
			if max(ts.LabelsRefs[i], ts.LabelsRefs[i+1]) >= uint32(len(req.Symbols)) {
				return nil, false
			}
			n, v := req.Symbols[ts.LabelsRefs[i]], req.Symbols[ts.LabelsRefs[i+1]]
			fmt.Fprintf(&s, "%q=%q,", n, v)
			if n == model.MetricNameLabel {
				name = v
			}
		}
		for _, p := range ts.Samples {
			fmt.Fprintf(&s, " %d:%x", p.Timestamp, math.Float64bits(p.Value))
		}
		for _, h := range ts.Histograms {
			sh := series.Histogram{T: h.Timestamp, Int: h.ToIntHistogram()}
			if h.IsFloatHistogram() {
				sh = series.Histogram{T: h.Timestamp, Float: h.ToFloatHistogram()}
			}
			s.WriteString(histogramLine(sh))
		}
		for _, e := range ts.Exemplars {
			ex, err := e.ToExemplar(&sb, req.Symbols)
			if err != nil {
				return nil, false
			}
			s.WriteString(exemplarLine(ex))
		}
		m, err := ts.ToMetadata(req.Symbols)
		if err != nil || len(ts.LabelsRefs)%2 != 0 || len(ts.Samples)+len(ts.Histograms) == 0 {
			return nil, false
		}
		line := fmt.Sprintf("meta %+v", series.Metadata{Family: name, Type: m.Type, Unit: m.Unit, Help: m.Help})
		if ts.Metadata.Type+writev2.Metadata_MetricType(ts.Metadata.HelpRef+ts.Metadata.UnitRef) != 0 && name != "" && last[name] != line {
			last[name] = line
			meta = append(meta, line)
		}
		out = append(out, s.String())
	}
	return append(out, meta...), true
}

// values are the floats that go wrong first.
var values = []float64{0, math.Copysign(0, -1), 1, -1, 21.5, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64,
	math.SmallestNonzeroFloat64, math.Float64frombits(value.StaleNaN), math.Float64frombits(0x7ff0000000000001), math.Float64frombits(0xfff8dead0000beef)}

var times = []int64{0, 1, -1, 1_700_000_000_000, math.MaxInt64, math.MinInt64, 127, 128}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomLabels(r *rand.Rand) labels.Labels {
	m := map[string]string{"__name__": pick(r, []string{"up", "température", "http_requests_total", strings.Repeat("long", 40)})}
	for range r.IntN(6) {
		m[fmt.Sprintf("l%d", r.IntN(20))] = pick(r, []string{"a", "größe", strings.Repeat("v", r.IntN(300)+1)})
	}
	return labels.FromMap(m)
}

func randomHistogram(r *rand.Rand) prompb.Histogram {
	t, n := pick(r, times), r.Int64N(50)
	switch r.IntN(6) {
	case 0:
		return prompb.FromIntHistogram(t, tsdbutil.GenerateTestHistogram(n))
	case 1:
		return prompb.FromFloatHistogram(t, tsdbutil.GenerateTestFloatHistogram(n))
	case 2:
		return prompb.FromIntHistogram(t, tsdbutil.GenerateTestCustomBucketsHistogram(n))
	case 3:
		return prompb.FromFloatHistogram(t, tsdbutil.GenerateTestCustomBucketsFloatHistogram(n))
	case 4:
		return prompb.FromFloatHistogram(t, tsdbutil.GenerateTestGaugeFloatHistogram(n))
	}
	return prompb.FromIntHistogram(t, tsdbutil.GenerateTestGaugeHistogram(n))
}

// randomV1 is a request of which everything can be stored.
func randomV1(r *rand.Rand) *prompb.WriteRequest {
	req := &prompb.WriteRequest{}
	for range r.IntN(20) {
		ts := prompb.TimeSeries{Labels: prompb.FromLabels(randomLabels(r), nil)}
		for range r.IntN(4) {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: pick(r, times), Value: pick(r, values)})
		}
		for range max(0, r.IntN(5)-3) {
			ts.Histograms = append(ts.Histograms, randomHistogram(r))
		}
		for range max(0, r.IntN(5)-3) {
			ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{Timestamp: pick(r, times), Value: pick(r, values),
				Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}, {Name: "a", Value: "ü"}}[:r.IntN(3)]})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	for range r.IntN(3) {
		req.Metadata = append(req.Metadata, prompb.MetricMetadata{Type: prompb.MetricMetadata_MetricType(r.IntN(8)),
			MetricFamilyName: pick(r, []string{"up", "x"}), Help: pick(r, []string{"", "help me"}), Unit: pick(r, []string{"", "seconds"})})
	}
	return req
}

func randomV2(r *rand.Rand) *writev2.Request {
	st := writev2.NewSymbolTable()
	req := &writev2.Request{}
	for range r.IntN(20) {
		ts := writev2.TimeSeries{LabelsRefs: st.SymbolizeLabels(randomLabels(r), nil)}
		if r.IntN(3) > 0 {
			ts.Metadata = writev2.Metadata{Type: writev2.Metadata_MetricType(r.IntN(8)),
				HelpRef: st.Symbolize(pick(r, []string{"", "help me", "help"})), UnitRef: st.Symbolize(pick(r, []string{"", "seconds"}))}
		}
		for range 1 + r.IntN(3) {
			ts.Samples = append(ts.Samples, writev2.Sample{Timestamp: pick(r, times), Value: pick(r, values), StartTimestamp: pick(r, times)})
		}
		for range max(0, r.IntN(5)-3) {
			h := modelHistogram(randomHistogram(r))
			if h.Int != nil {
				ts.Histograms = append(ts.Histograms, writev2.FromIntHistogram(7, h.T, h.Int))
			} else {
				ts.Histograms = append(ts.Histograms, writev2.FromFloatHistogram(7, h.T, h.Float))
			}
		}
		for range max(0, r.IntN(5)-3) {
			ts.Exemplars = append(ts.Exemplars, writev2.Exemplar{Timestamp: pick(r, times), Value: pick(r, values),
				LabelsRefs: st.SymbolizeLabels(labels.FromStrings("trace_id", "abc", "a", "ü"), nil)[:2*r.IntN(3)]})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = slices.Clone(st.Symbols())
	return req
}
