package cluster

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/storage"
)

// A limit may be any number: the largest are none.
func TestLargestLimits(t *testing.T) {
	c := newReadCluster(t, 3, 1, ReaderOptions{})
	c.fill(t, rand.New(rand.NewPCG(1, 2)), 0)
	q, err := c.nodes[0].reader.Querier(firstTime, lastTime)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, limit := range []int{1 << 31, 1<<31 + 1, math.MaxInt} {
		hints := &storage.LabelHints{Limit: limit}
		if all, _, err := q.LabelValues(t.Context(), "device_id", hints); err != nil || len(all) == 0 {
			t.Errorf("limit %d: values %q, %v", limit, all, err)
		}
		if all, _, err := q.LabelNames(t.Context(), hints); err != nil || len(all) == 0 {
			t.Errorf("limit %d: names %q, %v", limit, all, err)
		}
		set := q.Select(t.Context(), false, &storage.SelectHints{Start: firstTime, End: lastTime, Func: "series", Limit: limit}, everything)
		n := 0
		for set.Next() {
			n++
		}
		if set.Err() != nil || n == 0 {
			t.Errorf("limit %d: %d series, %v", limit, n, set.Err())
		}
	}
}
