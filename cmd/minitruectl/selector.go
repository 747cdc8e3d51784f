package main

import (
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// selection says which samples are meant.
type selection struct {
	match      []string
	start, end string
}

func (s *selection) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&s.match, "match", nil, `which series, as a PromQL selector such as 'temperature{site="a"}'; may be repeated; all without it`)
	c.Flags().StringVar(&s.start, "start", "", "the first time, RFC 3339 or Unix seconds; the beginning without it")
	c.Flags().StringVar(&s.end, "end", "", "the last time, RFC 3339 or Unix seconds; the end without it")
}

// matchers returns a set of matchers a selector, of which a series must fulfil one.
func (s *selection) matchers() ([][]*labels.Matcher, error) {
	if len(s.match) == 0 {
		return [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, "")}}, nil
	}
	p := parser.NewParser(parser.Options{})
	var sets [][]*labels.Matcher
	for _, m := range s.match {
		ms, err := p.ParseMetricSelector(m)
		if err != nil {
			return nil, fmt.Errorf("--match %s: %w", m, err)
		}
		sets = append(sets, ms)
	}
	return sets, nil
}

// times returns the range in ms, both ends inclusive.
func (s *selection) times() (mint, maxt int64, err error) {
	if mint, err = instant(s.start, math.MinInt64); err != nil {
		return 0, 0, fmt.Errorf("--start: %w", err)
	}
	if maxt, err = instant(s.end, math.MaxInt64); err != nil {
		return 0, 0, fmt.Errorf("--end: %w", err)
	}
	if mint > maxt {
		return 0, 0, fmt.Errorf("--start %s is behind --end %s", s.start, s.end)
	}
	return mint, maxt, nil
}

// instant reads a time into ms.
func instant(s string, without int64) (int64, error) {
	if s == "" {
		return without, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UnixMilli(), nil
	}
	var seconds float64
	if _, err := fmt.Sscanf(s+" ", "%f ", &seconds); err != nil || math.Abs(seconds) > 1e12 {
		return 0, fmt.Errorf("%q is neither RFC 3339, such as 2026-01-02T15:04:05Z, nor Unix seconds", s)
	}
	return int64(math.Round(seconds * 1000)), nil
}

// once passes on the runs of series that no selector before had.
type once struct {
	before, now map[series.ID]bool
	key         []byte
	sets        int
}

// filter returns an emit for the next selector.
func (o *once) filter(emit func(*flow.Run) error) func(*flow.Run) error {
	if o.sets < 2 {
		return emit
	}
	if o.before == nil {
		o.before, o.now = map[series.ID]bool{}, map[series.ID]bool{}
	}
	for id := range o.now {
		o.before[id] = true
	}
	clear(o.now)
	return func(r *flow.Run) error {
		o.key = series.AppendKey(o.key[:0], r.Labels)
		id := series.HashKey(o.key)
		if o.before[id] {
			return nil
		}
		o.now[id] = true
		return emit(r)
	}
}
