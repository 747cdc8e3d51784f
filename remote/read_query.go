package remote

import (
	"fmt"
	"mime"
	"net/http"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/promql/cost"
)

// maxQueries bounds the queries of a request. Prometheus sends one.
const maxQueries = 1000

// A query is a checked prompb.Query. Both ends of its time are inclusive.
type query struct {
	start, end int64
	matchers   []*labels.Matcher
	hints      *storage.SelectHints
}

func checkReadType(contentType string) error {
	if contentType == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if p := params["proto"]; err == nil && media == typeProtobuf && (p == "" || p == "prometheus.ReadRequest") {
		return nil
	}
	return &requestError{http.StatusUnsupportedMediaType,
		fmt.Sprintf("the content type %.100q is not supported: send %s with a prometheus.ReadRequest", contentType, typeProtobuf)}
}

func parseQueries(ps []*prompb.Query) ([]query, error) {
	if len(ps) > maxQueries {
		return nil, badRequest("the request has %d queries, at most %d are allowed", len(ps), maxQueries)
	}
	qs := make([]query, len(ps))
	for i, p := range ps {
		ms, err := parseMatchers(p.Matchers)
		if err != nil {
			return nil, badRequest("query %d: %v", i+1, err)
		}
		qs[i] = query{p.StartTimestampMs, p.EndTimestampMs, ms, parseHints(p)}
	}
	return qs, nil
}

func parseMatchers(ps []*prompb.LabelMatcher) ([]*labels.Matcher, error) {
	ms := make([]*labels.Matcher, len(ps))
	for i, p := range ps {
		var t labels.MatchType
		switch p.Type {
		case prompb.LabelMatcher_EQ:
			t = labels.MatchEqual
		case prompb.LabelMatcher_NEQ:
			t = labels.MatchNotEqual
		case prompb.LabelMatcher_RE:
			t = labels.MatchRegexp
		case prompb.LabelMatcher_NRE:
			t = labels.MatchNotRegexp
		default:
			return nil, fmt.Errorf("the matcher of label %q has the unknown type %d", p.Name, p.Type)
		}
		m, err := labels.NewMatcher(t, p.Name, p.Value)
		if err != nil {
			return nil, fmt.Errorf("the matcher of label %q has a bad regular expression: %w", p.Name, err)
		}
		ms[i] = m
	}
	return ms, cost.Matchers(ms...)
}

// parseHints never returns nil. Hints without times get those of the query.
func parseHints(p *prompb.Query) *storage.SelectHints {
	hints := &storage.SelectHints{Start: p.StartTimestampMs, End: p.EndTimestampMs}
	if h := p.Hints; h != nil {
		if h.StartMs != 0 || h.EndMs != 0 {
			hints.Start, hints.End = h.StartMs, h.EndMs
		}
		hints.Step, hints.Func, hints.Range = h.StepMs, h.Func, h.RangeMs
		hints.Grouping, hints.By = h.Grouping, h.By
	}
	return hints
}
