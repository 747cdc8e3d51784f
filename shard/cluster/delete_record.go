package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql/cost"
)

// deletion is the value of a record.
type deletion struct {
	Time     int64           `json:"time"` // Unix ms, when it was asked for
	MinTime  int64           `json:"mint"` // ms, inclusive
	MaxTime  int64           `json:"maxt"`
	Matchers []deleteMatcher `json:"matchers"`

	ms []*labels.Matcher
}

type deleteMatcher struct {
	Type  string `json:"type"` // as PromQL writes it
	Name  string `json:"name"`
	Value string `json:"value"`
}

// deletePrefix begins the keys of records.
const deletePrefix = "delete/"

func parseDeletion(key string, value []byte) (x deletion, err error) {
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&x); err != nil {
		return x, fmt.Errorf("delete %s: %w", key, err)
	}
	if !strings.HasPrefix(key, deletePrefix) || len(x.Matchers) == 0 || x.MinTime > x.MaxTime {
		return x, fmt.Errorf("delete %s is none", key)
	}
	for _, m := range x.Matchers {
		i := slices.IndexFunc(matchTypes, func(t labels.MatchType) bool { return t.String() == m.Type })
		if i < 0 {
			return x, fmt.Errorf("delete %s: unknown kind of matcher %q", key, m.Type)
		}
		made, err := labels.NewMatcher(matchTypes[i], m.Name, m.Value)
		if err != nil {
			return x, fmt.Errorf("delete %s: %w", key, err)
		}
		x.ms = append(x.ms, made)
	}
	return x, cost.Matchers(x.ms...)
}

var matchTypes = []labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp}

// Deleted takes out of a batch what was deleted after it had been written, at a time in Unix ms, and calls store for the rest, before
// anything else is deleted here: it is for hints. [series.ErrUnavailable] says that this node does not know what was deleted.
func (d *Deleter) Deleted(ctx context.Context, b *series.Batch, written int64, store func() error) error {
	if err := d.catchUp(ctx); err != nil {
		return err
	}
	d.storing.RLock()
	defer d.storing.RUnlock()
	d.mu.Lock()
	var later []deletion
	for _, x := range d.applied {
		if x.Time >= written {
			later = append(later, x)
		}
	}
	d.mu.Unlock()
	for i := range b.Series {
		e := &b.Series[i]
		var gone []chunk.Interval
		for _, x := range later {
			if !e.Bad && selects(x.ms, e.Key) {
				gone = append(gone, chunk.Interval{Min: x.MinTime, Max: x.MaxTime})
			}
		}
		if len(gone) > 0 {
			takeOut(b, i, gone)
		}
	}
	return store()
}

// selects says whether matchers select the series with a key.
func selects(ms []*labels.Matcher, key []byte) bool {
	values := map[string]string{}
	_ = series.EachLabel(key, func(name, value string) { values[name] = value })
	return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(values[m.Name]) })
}

// takeOut removes what lies in some intervals from series i of a batch.
func takeOut(b *series.Batch, i int, gone []chunk.Interval) {
	in := func(t int64) bool {
		return slices.ContainsFunc(gone, func(g chunk.Interval) bool { return g.Min <= t && t <= g.Max })
	}
	e := &b.Series[i]
	kept := b.Samples[e.First : e.First : e.First+e.Count]
	for _, s := range b.Samples[e.First : e.First+e.Count] {
		if !in(s.T) {
			kept = append(kept, s)
		}
	}
	e.Count = len(kept)
	b.Histograms = slices.DeleteFunc(b.Histograms, func(h series.Histogram) bool { return h.Series == i && in(h.T) })
	b.Exemplars = slices.DeleteFunc(b.Exemplars, func(x series.Exemplar) bool { return x.Series == i && in(x.Ts) })
}
