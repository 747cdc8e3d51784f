package store

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// A sample that comes months late, of a time whose samples are gone, hides none of the buckets that are newer than it.
func TestALateSampleHidesNoBuckets(t *testing.T) {
	a := newAged(t)
	all := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	before, err := a.Aggregate(t.Context(), math.MinInt64/2, math.MaxInt64/2, all)
	if err != nil {
		t.Fatal(err)
	}
	b := &series.Batch{
		Series:  []series.Entry{{Key: series.AppendKey(nil, labels.FromStrings("__name__", "late")), Count: 1}},
		Samples: []series.Sample{{T: a.start + 2*dayMs + 1, V: 1}},
	}
	for _, step := range []string{"in memory", "in a block", "in buckets"} {
		switch step {
		case "in memory":
			err = a.Append(t.Context(), b)
		case "in a block":
			err = a.Flush(t.Context())
		case "in buckets":
			err = a.CompactAll(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Aggregate(t.Context(), math.MinInt64/2, math.MaxInt64/2, all)
		if err != nil || got.Samples != before.Samples || got.Total() != before.Total() {
			t.Errorf("%s: %d samples of the other series, before %d, %v", step, got.Samples, before.Samples, err)
		}
	}
}
