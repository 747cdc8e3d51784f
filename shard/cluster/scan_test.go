package cluster

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// A node that gives its digests, and then breaks off or refuses what it is asked for, is replaced.
func TestNodeFailsAfterItsDigests(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	c := newReadCluster(t, 5, 3, ReaderOptions{Fresh: time.Hour})
	whole := source{c.fill(t, r, 0.001)}
	rows := []struct {
		name string
		fail func(w http.ResponseWriter, r *http.Request) bool
	}{
		{"refuses", func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "the disk is gone", http.StatusInternalServerError)
			return false
		}},
		{"ends without an end", func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusOK)
			return false
		}},
		{"hangs up", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			failing := func(w http.ResponseWriter, r *http.Request) bool {
				return r.URL.Path == pathDigests || row.fail(w, r)
			}
			bad := r.IntN(4) + 1
			c.nodes[bad].before.Store(&failing)
			defer c.nodes[bad].before.Store(nil)
			for range 3 {
				compare(t, whole, asSource{c.nodes[0].reader}, randomQuery(r))
			}
		})
	}
}

// What was acknowledged before a question began is in the answer, while replicas lack it, get it late and differ.
func TestAcknowledgedIsSeen(t *testing.T) {
	c := newReadCluster(t, 3, 3, ReaderOptions{Fresh: time.Hour})
	var wg sync.WaitGroup
	var acked [4]atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	late := make(chan func(), 64)
	wg.Go(func() { // replicas that missed a write get it some time
		for f := range late {
			f()
		}
	})
	var writers sync.WaitGroup
	for w := range acked {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := int64(0); i < 150 && ctx.Err() == nil; i++ {
				// Odd writers fill old windows.
				at := lastTime - 30*60*1000 + i
				if w%2 == 1 {
					at = firstTime + i*60*1000
				}
				one := []written{{ls: writerSeries(w), t: at, v: float64(i)}}
				perm := r.Perm(3)
				for _, n := range perm[:2] {
					appendTo(t, c.nodes[n].store, one)
				}
				acked[w].Store(i + 1)
				if r.IntN(2) == 0 {
					late <- func() { appendTo(t, c.nodes[perm[2]].store, one) }
				}
			}
		})
	}
	var readers sync.WaitGroup
	for k := range c.nodes {
		readers.Go(func() {
			for i := 0; i < 60; i++ {
				w := (i + k) % len(acked)
				if err := seen(ctx, c.nodes[k].reader, w, acked[w].Load(), i%2 == 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Wait()
	cancel()
	writers.Wait()
	close(late)
	wg.Wait()
}

func writerSeries(w int) labels.Labels {
	return labels.FromStrings("__name__", "m", "device_id", fmt.Sprint("w", w))
}

// seen says whether the first n samples of a writer are read.
func seen(ctx context.Context, r *Reader, w int, n int64, aggregate bool) error {
	m := labels.MustNewMatcher(labels.MatchEqual, "device_id", fmt.Sprint("w", w))
	if aggregate {
		s, err := r.Aggregate(ctx, firstTime, lastTime, m)
		if err != nil || int64(s.Samples) < n || n > 0 && s.Total() < float64(n*(n-1)/2) {
			return fmt.Errorf("writer %d: %d of %d samples, %w", w, s.Samples, n, err)
		}
		return nil
	}
	got, err := scanAll(ctx, r, query{firstTime, lastTime, []*labels.Matcher{m}})
	if have := len(got[writerSeries(w).String()]); err != nil || int64(have) < n {
		return fmt.Errorf("writer %d: %d of %d samples, %w", w, have, n, err)
	}
	return nil
}

// Chunks of replicas become one run: equal ones and such as others hold whole are left out, and the others merged.
func TestSettle(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for round := range 300 {
		byTime := map[int64]float64{}
		var lists [][]series.Sample
		for range 1 + round%4 {
			lists = append(lists, nil)
		}
		for at := range int64(40 + r.IntN(1000)) {
			v := math.Round(r.Float64() * 10)
			byTime[at*1000] = v
			for k := range lists {
				switch sure := k == int(at)%len(lists); {
				case !sure && r.IntN(300) == 0: // another value, which loses
					lists[k] = append(lists[k], series.Sample{T: at * 1000, V: v - 1})
				case sure || r.IntN(4*(k+1)) > 0:
					lists[k] = append(lists[k], series.Sample{T: at * 1000, V: v})
				}
			}
		}
		all := encoded(t, r, lists)
		got, err := settle(nil, all)
		if err != nil {
			t.Fatal(err)
		}
		have := content{}
		last := int64(-1)
		for _, c := range got {
			if c.MinTime <= last {
				t.Fatal("they overlap")
			}
			last = c.MaxTime
			it, err := c.Iterator(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := have.take(labels.EmptyLabels(), it, math.MinInt64, math.MaxInt64); err != nil {
				t.Fatal(err)
			}
		}
		want := content{}
		for at := range int64(len(byTime)) {
			want["{}"] = append(want["{}"], fmt.Sprintf("%d %x", at*1000, math.Float64bits(byTime[at*1000])))
		}
		if d := want.differences(have); d != "" {
			t.Fatal(d)
		}
	}
}

// Fetch hands over what a node has, in batches of bounded size, of some partitions and some series.
func TestFetch(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	c := newReadCluster(t, 3, 3, ReaderOptions{})
	c.fill(t, r, 0.1)
	from, to := c.nodes[1], c.nodes[0]
	target := from.View().Members[1]
	half := &shard.Set{}
	for p := range uint16(shard.Partitions) {
		if p%2 == 0 {
			half.Add(p)
		}
	}
	inHalf := func(ls labels.Labels) bool { return half.Has(shard.Partition(ls, "device_id")) }
	some := series.HashKey(series.AppendKey(nil, labels.FromStrings("__name__", "temperature", "device_id", "d1", "site", "s0")))
	rows := []struct {
		name       string
		parts      *shard.Set
		ids        []series.ID
		mint, maxt int64
		keep       func(ls labels.Labels) bool
	}{
		{"everything", nil, nil, math.MinInt64, math.MaxInt64, func(labels.Labels) bool { return true }},
		{"some partitions", half, nil, firstTime + 1e7, lastTime - 1e7, inHalf},
		{"one series", nil, []series.ID{some, {Hi: 1}}, firstTime, firstTime + 1e7, func(ls labels.Labels) bool {
			return series.HashKey(series.AppendKey(nil, ls)) == some
		}},
		{"no series", nil, []series.ID{}, firstTime, lastTime, func(labels.Labels) bool { return false }},
	}
	// The ring does not matter.
	other, err := shard.NewRing(c.ring.Nodes()[:2], 1)
	if err != nil {
		t.Fatal(err)
	}
	to.view.Store(&shard.View{Ring: other, Members: to.View().Members[:2]})
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			all, err := scanAll(t.Context(), source{from.store}, query{row.mint, row.maxt, []*labels.Matcher{everything}})
			if err != nil {
				t.Fatal(err)
			}
			want := content{}
			sel, err := source{from.store}.Scan(t.Context(), row.mint, row.maxt, everything)
			if err != nil {
				t.Fatal(err)
			}
			defer sel.Close()
			var b labels.ScratchBuilder
			for i := range sel.Len() {
				if ls := sel.Labels(i, &b); row.keep(ls) && len(all[ls.String()]) > 0 {
					want[ls.String()] = all[ls.String()]
				}
			}
			got := content{}
			err = to.reader.Fetch(t.Context(), target, row.parts, row.ids, row.mint, row.maxt, func(b *series.Batch) error {
				if len(b.Samples) > fetchSamples || len(b.Histograms) > fetchHistograms {
					t.Errorf("a batch of %d samples and %d histograms", len(b.Samples), len(b.Histograms))
				}
				return got.takeBatch(b)
			})
			if d := want.differences(got); err != nil || d != "" {
				t.Error(err, d)
			}
		})
	}
}

// takeBatch adds what is in a batch.
func (c content) takeBatch(b *series.Batch) error {
	var sb labels.ScratchBuilder
	keys := make([]string, len(b.Series))
	for i, e := range b.Series {
		ls, err := series.ParseKey(slices.Clone(e.Key), series.Limits{}, &sb)
		if err != nil {
			return err
		}
		keys[i] = ls.String()
		for _, s := range b.Samples[e.First : e.First+e.Count] {
			c[keys[i]] = append(c[keys[i]], fmt.Sprintf("%d %x", s.T, math.Float64bits(s.V)))
		}
	}
	for _, h := range b.Histograms {
		k := keys[h.Series]
		if h.Int != nil {
			c[k] = append(c[k], fmt.Sprintf("%d histogram %s", h.T, h.Int.ToFloat(nil).Compact(0)))
		} else {
			c[k] = append(c[k], fmt.Sprintf("%d floathistogram %s", h.T, h.Float.Copy().Compact(0)))
		}
	}
	return nil
}

// A chunk is part of another only if the values are the same, to the bit.
func TestPartOf(t *testing.T) {
	one := func(samples ...series.Sample) chunk.Chunk {
		cs, err := chunk.Encode(nil, chunk.Slice(samples))
		if err != nil {
			t.Fatal(err)
		}
		return cs[0]
	}
	long := one(series.Sample{T: 1, V: 4}, series.Sample{T: 2, V: 0}, series.Sample{T: 3, V: 7})
	rows := []struct {
		name  string
		short chunk.Chunk
		want  bool
	}{
		{"beginning", one(series.Sample{T: 1, V: 4}, series.Sample{T: 2, V: 0}), true},
		{"end", one(series.Sample{T: 2, V: 0}, series.Sample{T: 3, V: 7}), true},
		{"another value", one(series.Sample{T: 1, V: 5}), false},
		{"another zero", one(series.Sample{T: 2, V: math.Copysign(0, -1)}), false},
		{"beyond", one(series.Sample{T: 3, V: 7}, series.Sample{T: 4, V: 7}), false},
	}
	for _, row := range rows {
		if got := partOf(&row.short, &long); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
