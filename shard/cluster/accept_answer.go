package cluster

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/minitrue/minitrue/chunk/series"
)

// writeAnswer is what a node answers to a write that it has stored.
type writeAnswer struct {
	Series   int              `json:"series"` // how many it found
	Rejected []rejectedSeries `json:"rejected,omitempty"`
	Briefs   bool             `json:"briefs"` // the node reads briefs; one of an older version does not say so
}

// rejectedSeries is a series that a node cannot store.
type rejectedSeries struct {
	Series int    `json:"series"` // its place in the body, from 0
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// check makes sure that a node that rejects some of n series speaks of the same ones, in their order.
func (a *writeAnswer) check(n int) error {
	if len(a.Rejected) == 0 {
		return nil
	}
	if a.Series != n {
		return errAnswer
	}
	last := -1
	for _, r := range a.Rejected {
		if r.Series <= last || r.Series >= n || r.Reason == "" {
			return errAnswer
		}
		last = r.Series
	}
	return nil
}

// rejectedIn lists what storage has rejected in a batch that had nothing rejected before. A batch counts by reason and keeps
// the first errors; labels that cannot be stored show their reason again, and for other series it is the other reason.
func rejectedIn(b *series.Batch, lim series.Limits) []rejectedSeries {
	if !b.Rejected.Any() {
		return nil
	}
	var other error
	for _, err := range b.Rejected.Errs {
		var le *series.LabelError
		if !errors.As(err, &le) {
			other = cmp.Or(other, err)
		}
	}
	var list []rejectedSeries
	for i := range b.Series {
		if !b.Series[i].Bad {
			continue
		}
		r := rejectedSeries{Series: i}
		var le *series.LabelError
		if _, err := series.CheckKey(b.Series[i].Key, lim); errors.As(err, &le) {
			r.Reason, r.Detail = le.Reason, le.Detail
		} else {
			r.Reason, r.Detail = otherReason(b.Rejected.Reasons), "it is not stored"
			if other != nil {
				r.Detail = innermost(other).Error()
			}
		}
		list = append(list, r)
	}
	return list
}

// innermost is what an error wraps: what is wrong, without the series of which it was said first.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// otherReason is one that is not about labels, if there is one.
func otherReason(reasons map[string]int) string {
	if _, ok := reasons["max_series"]; ok || len(reasons) == 0 {
		return "max_series"
	}
	return slices.Min(slices.Collect(maps.Keys(reasons)))
}
