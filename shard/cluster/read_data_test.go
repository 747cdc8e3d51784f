package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/shard"
)

// written is a sample, histogram or exemplar that is written.
type written struct {
	ls labels.Labels
	t  int64
	v  float64
	h  *histogram.Histogram
	x  *exemplar.Exemplar
}

// batchOfWritten makes a batch of samples.
func batchOfWritten(all []written) *series.Batch {
	b := &series.Batch{}
	index := map[string]int{}
	bySeries := map[int][]written{}
	for _, s := range all {
		key := string(series.AppendKey(nil, s.ls))
		i, ok := index[key]
		if !ok {
			i = len(b.Series)
			index[key] = i
			b.Series = append(b.Series, series.Entry{Key: []byte(key)})
		}
		bySeries[i] = append(bySeries[i], s)
	}
	for i := range b.Series {
		b.Series[i].First = len(b.Samples)
		for _, s := range bySeries[i] {
			switch {
			case s.x != nil:
				b.Exemplars = append(b.Exemplars, series.Exemplar{Series: i, Exemplar: *s.x})
			case s.h != nil:
				b.Histograms = append(b.Histograms, series.Histogram{Series: i, T: s.t, Int: s.h.Copy()})
			default:
				b.Samples = append(b.Samples, series.Sample{T: s.t, V: s.v})
				b.Series[i].Count++
			}
		}
	}
	return b
}

func appendTo(t testing.TB, s *store.Store, all []written) {
	t.Helper()
	if len(all) == 0 {
		return
	}
	b := batchOfWritten(all)
	if err := s.Append(t.Context(), b); err != nil || b.Rejected.Any() {
		t.Fatal(err, b.Rejected)
	}
}

// randomSeries are of a few metrics, with devices and without.
func randomSeries(r *rand.Rand) []labels.Labels {
	var all []labels.Labels
	for _, name := range []string{"temperature", "requests_total", "latency"} {
		for d := range 3 + r.IntN(5) {
			for s := range 1 + r.IntN(2) {
				all = append(all, labels.FromStrings("__name__", name, "device_id", fmt.Sprint("d", d), "site", fmt.Sprint("s", s)))
			}
		}
		all = append(all, labels.FromStrings("__name__", name, "job", "x"))
	}
	return all
}

// randomPart are samples in one part of the time.
func randomPart(r *rand.Rand, all []labels.Labels, mint, maxt int64) (out []written) {
	for k, ls := range all {
		step := []int64{45_000, 120_000, 300_000}[k%3]
		v := 0.0
		for t := mint + r.Int64N(step); t <= maxt; t += step {
			if r.IntN(100) == 0 {
				t += r.Int64N(3 * 60 * 60 * 1000)
			}
			s := written{ls: ls, t: t, v: math.Round(100*r.NormFloat64()) / 10}
			switch {
			case ls.Get(model.MetricNameLabel) == "latency" && k%2 == 0:
				s.h = &histogram.Histogram{Schema: 1, Count: uint64(t / 1000), Sum: v, ZeroThreshold: 0.001,
					PositiveSpans: []histogram.Span{{Offset: int32(k % 4), Length: 2}}, PositiveBuckets: []int64{int64(r.IntN(5)), 1}}
			case ls.Get(model.MetricNameLabel) == "requests_total":
				v += float64(r.IntN(10))
				if r.IntN(100) == 0 {
					v = 0
				}
				s.v = v
			case r.IntN(50) == 0:
				s.v = []float64{math.NaN(), math.Float64frombits(value.StaleNaN), math.Copysign(0, -1)}[r.IntN(3)]
			}
			out = append(out, s)
			if s.h == nil && r.IntN(100) == 0 { // the same time again
				s.v++
				out = append(out, s)
			}
			if r.IntN(100) == 0 {
				out = append(out, written{ls: ls, t: t, x: &exemplar.Exemplar{Labels: labels.FromStrings("trace", fmt.Sprint(t)), Value: s.v, Ts: t, HasTs: true}})
			}
		}
	}
	r.Shuffle(len(out)/20, func(i, j int) { out[i], out[j] = out[j], out[i] }) // some come late
	return out
}

// fill writes random data: everything into one store, which it returns, and each sample to enough of its owners. A node may lack
// what others have with the probability loss.
func (c *readCluster) fill(t testing.TB, r *rand.Rand, loss float64) *store.Store {
	t.Helper()
	whole := openStore(t, store.Options{})
	all := randomSeries(r)
	for i, n := range append(c.nodes, &readNode{store: whole}) { // the first has missed it
		if b := (&series.Batch{Metadata: []series.Metadata{{Family: "temperature", Type: model.MetricTypeGauge, Help: "how warm"}, {Family: "latency"}}}); i > 0 {
			if err := n.store.Append(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	const parts = 5
	span := (lastTime - firstTime) / parts
	for k := range int64(parts) {
		part := randomPart(r, all, firstTime+k*span, firstTime+(k+1)*span-1)
		appendTo(t, whole, part)
		for i, some := range c.divide(r, part, loss) {
			appendTo(t, c.nodes[i].store, some)
			c.disturb(t, r, c.nodes[i].store)
		}
		c.disturb(t, r, whole)
	}
	return whole
}

// divide gives each sample to enough of its owners.
func (c *readCluster) divide(r *rand.Rand, all []written, loss float64) [][]written {
	out := make([][]written, len(c.nodes))
	for _, s := range all {
		owners := slices.Clone(c.ring.Owners(shard.Partition(s.ls, "device_id")))
		r.Shuffle(len(owners), func(i, j int) { owners[i], owners[j] = owners[j], owners[i] })
		for i, o := range owners {
			if i < len(owners)/2+1 || r.Float64() >= loss {
				out[o] = append(out[o], s)
			}
		}
	}
	return out
}

// disturb makes the chunks of stores differ.
func (c *readCluster) disturb(t testing.TB, r *rand.Rand, s *store.Store) {
	t.Helper()
	if r.IntN(2) == 0 {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r.IntN(4) == 0 {
		if err := s.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
