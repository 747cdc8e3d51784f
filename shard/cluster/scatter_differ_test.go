package cluster

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minitrue/minitrue/chunk/store"
)

// Of a replica that misses a sample only what is before that is left to it; the sample is in the answer, whichever replica misses it.
func TestScatterReadsWhatDiffers(t *testing.T) {
	for missing := range 3 {
		c := newReadCluster(t, 4, 3, ReaderOptions{Fresh: time.Hour, Hedge: time.Minute})
		ls, self, owners := c.unowned(t)
		whole := openStore(t, store.Options{})
		const minutes = 600
		var all, some []written
		for i := range int64(minutes) {
			s := written{ls: ls, t: firstTime + i*60_000, v: float64(i)}
			all = append(all, s)
			if i != minutes/2 {
				some = append(some, s)
			}
		}
		appendTo(t, whole, all)
		for i, o := range owners {
			if i == missing {
				appendTo(t, c.nodes[o].store, some)
			} else {
				appendTo(t, c.nodes[o].store, all)
			}
		}
		n, oracle := c.nodes[self], promAsker{engine: newProm(), over: whole}
		before := firstTime + minutes/3*60_000
		for _, text := range []string{"sum(count_over_time(m[10m]))", "topk(1, sum_over_time(m[10m]))"} {
			a := n.asker()
			q := promQuestion{text: text, start: time.UnixMilli(firstTime), end: time.UnixMilli(firstTime + minutes*60_000), step: time.Minute}
			if err := q.differs(q.ask(t.Context(), a), oracle); err != nil {
				t.Errorf("replica %d misses a sample: %s: %v", missing, q, err)
			}
			pushed := testutil.ToFloat64(n.reader.m.pushed)
			if missing < 2 { // one of the two that must be heard
				if got := a.outcomes(t); got["partly"] != 1 && got["read"] != 1 || pushed == 0 {
					t.Errorf("replica %d misses a sample: the outcomes are %v, %v partitions were pushed", missing, got, pushed)
				}
			}
			q.end = time.UnixMilli(before)
			if err := q.differs(q.ask(t.Context(), a), oracle); err != nil {
				t.Errorf("replica %d misses a sample: %s: %v", missing, q, err)
			}
			if got := a.outcomes(t); got["pushed"] == 0 {
				t.Errorf("replica %d misses a sample: before it the outcomes are %v", missing, got)
			}
		}
	}
}
