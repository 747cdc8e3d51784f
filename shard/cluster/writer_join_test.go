package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/series"
)

func waiterOf(ctx context.Context, b *series.Batch) *waiter {
	return &waiter{ctx: ctx, batch: b, done: make(chan struct{})}
}

// tagged is simple with another metric and another value than any other tag's.
func tagged(n int, tag string) *series.Batch {
	b := simple(n)
	for i := range b.Series {
		b.Series[i].Key = series.AppendLabel(series.AppendLabel(nil, "__name__", tag), "device_id", fmt.Sprint(i))
		b.Samples[i].V = math.Float64frombits(series.HashKey([]byte(tag)).Lo >> 2)
	}
	return b
}

// Batches that go together cost one append at each node, and each is told of its own series, by their numbers there, what it would be told alone.
func TestJoinedIsEachAlone(t *testing.T) {
	make3 := func() (all []*series.Batch) {
		for k := range 3 {
			b := tagged(20, fmt.Sprint("m", k))
			b.Series[2+k].Key = []byte("no frames at all")
			b.Series[7].Key = series.AppendLabel(nil, "device_id", "no_name")
			b.Series[9+k].Key = series.AppendLabel(b.Series[9+k].Key, "zone", "full")
			b.Series[0].Key = series.AppendLabel(series.AppendLabel(nil, "device_id", fmt.Sprint(k)), "__name__", "sorts_before")
			b.Histograms = []series.Histogram{
				{Series: 5, T: 1, Int: &histogram.Histogram{PositiveBuckets: make([]int64, 1<<17)}},
				{Series: 5, T: int64(2 + k), Int: &histogram.Histogram{PositiveBuckets: make([]int64, 1)}},
			}
			all = append(all, b)
		}
		return all
	}
	world := func() *writeWorld {
		w := newWriteWorld(t, 3, 3, WriterOptions{Consistency: All})
		for _, node := range w.nodes {
			node.memory.reject = func(key string) string {
				if strings.Contains(key, "full") {
					return "max_series"
				}
				return ""
			}
		}
		return w
	}
	together, alone := world(), world()
	batches := make3()
	var waiters []*waiter
	for _, b := range batches {
		waiters = append(waiters, waiterOf(t.Context(), b))
	}
	together.writer.appendAll(waiters)
	for k, want := range make3() {
		if err := alone.writer.Append(t.Context(), want); err != nil || waiters[k].err != nil {
			t.Fatal(err, waiters[k].err)
		}
		got := batches[k]
		if g, w := fmt.Sprint(got.Rejected), fmt.Sprint(want.Rejected); g != w || want.Rejected.Samples != 4 || want.Rejected.Histograms != 1 {
			t.Errorf("batch %d: rejected are\n%s, alone\n%s", k, g, w)
		}
		for i := range got.Series {
			if got.Series[i].Bad != want.Series[i].Bad {
				t.Errorf("batch %d: series %d is rejected: %v, alone %v", k, i, got.Series[i].Bad, want.Series[i].Bad)
			}
		}
	}
	alone.settle()
	together.settle()
	for i, node := range together.nodes {
		if g, w := fmt.Sprint(node.memory.samples), fmt.Sprint(alone.nodes[i].memory.samples); g != w {
			t.Errorf("node %d has\n%s, alone\n%s", i, g, w)
		}
		if n := node.memory.appends; n != 1 {
			t.Errorf("node %d has stored %d batches, want 1", i, n)
		}
	}
}

// Many who write at once are answered, each for what is stored; a node that is late, and does not know series after all, gets the same as the others.
func TestManyJoin(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{})
	var asked atomic.Int32
	w.nodes[2].before = func(rw http.ResponseWriter, r *http.Request) bool {
		return r.Header.Get(headerBrief) != "" && asked.Add(1)%3 == 0 && refuse(http.StatusPreconditionFailed)(rw, r)
	}
	var mu sync.Mutex
	sent := map[string]map[string]bool{}
	write := func(k, round int) error {
		b := tagged(10, fmt.Sprint("m", k))
		for i := range b.Samples {
			b.Samples[i] = series.Sample{T: int64(1000*round + i), V: float64(k)}
		}
		var keys, all []string
		mu.Lock()
		for i, e := range b.Series {
			keys, all = append(keys, string(e.Key)), append(all, contents(b, i)...)
			if sent[keys[i]] == nil {
				sent[keys[i]] = map[string]bool{}
			}
			sent[keys[i]][all[i]] = true
		}
		mu.Unlock()
		l := &lender{refuse: k%7 == 0}
		give := l.lend(b)
		if k%5 == 0 {
			b.Keep, give = nil, func() { scribble(b) }
		}
		defer give()
		if err := w.writer.Append(context.Background(), b); err != nil {
			return err
		}
		for i, key := range keys {
			have := 0
			for _, node := range w.nodes {
				if node.memory.has(key, all[i:i+1]) {
					have++
				}
			}
			if have < 2 {
				return fmt.Errorf("series %d of %d is acknowledged and on %d nodes", i, k, have)
			}
		}
		return nil
	}
	var writers errgroup.Group
	for k := range 60 {
		writers.Go(func() error {
			for round := range 10 {
				if err := write(k, round); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	w.settle()
	for i, node := range w.nodes {
		if !reflect.DeepEqual(node.memory.samples, sent) {
			t.Errorf("node %d has not what was sent", i)
		}
	}
	if n := w.nodes[0].memory.appends; n >= 600 {
		t.Errorf("%d batches of 600 writes: none went together", n)
	}
	q := w.writer.joined
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 || q.amount != 0 {
		t.Errorf("%d wait with %d samples", len(q.waiting), q.amount)
	}
}

// Who gives up does not take the others along; when all have given up, nobody waits for the nodes.
func TestJoinedGiveUp(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{Consistency: All})
	hold, arrived := make(chan struct{}), make(chan struct{}, 10)
	w.nodes[1].before = func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-hold
		return false
	}
	one, leave := context.WithCancel(t.Context())
	a, b := waiterOf(one, tagged(5, "a")), waiterOf(t.Context(), tagged(5, "b"))
	go w.writer.appendAll([]*waiter{a, b})
	<-arrived
	leave()
	close(hold)
	<-a.done
	<-b.done
	if a.err != nil || b.err != nil {
		t.Fatalf("%v, %v: both are stored", a.err, b.err)
	}
	hold = make(chan struct{})
	defer close(hold)
	all, leave := context.WithCancel(t.Context())
	a, b = waiterOf(all, tagged(5, "c")), waiterOf(all, tagged(5, "d"))
	go w.writer.appendAll([]*waiter{a, b})
	<-arrived
	leave()
	<-a.done // while the node is held
	<-b.done
	if !errors.Is(a.err, context.Canceled) || !errors.Is(b.err, context.Canceled) {
		t.Fatalf("%v, %v: want %v", a.err, b.err, context.Canceled)
	}
	if err := w.writer.Append(all, tagged(5, "e")); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want %v", err, context.Canceled)
	}
}
