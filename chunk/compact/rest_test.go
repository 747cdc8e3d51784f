package compact

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/duty"
)

// A merge rests after each series, and while it writes down what it knows of all of them.
func TestMergeRestsWhileItCommits(t *testing.T) {
	const many = 2000
	one, sets := model{}, map[string]labels.Labels{}
	for i := range many {
		ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))
		sets[ls.String()] = ls
		one.add(ls, int64(i), sample{v: float64(i)})
	}
	root := t.TempDir()
	b := writeModel(t, root, one, sets)
	now, rests := time.Unix(0, 0), 0
	o := MergeOptions{Duty: 0.5, cycle: duty.Cycle{
		Now:  func() time.Time { now = now.Add(duty.Slice); return now },
		Wait: func(context.Context, time.Duration) { rests++ },
	}}
	if _, err := Merge(t.Context(), []*block.Block{b}, root, o); err != nil {
		t.Fatal(err)
	}
	if rests < many+many/100 {
		t.Errorf("it has rested %d times, and has %d series", rests, many)
	}
}
