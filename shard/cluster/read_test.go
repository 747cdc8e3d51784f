package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/shard"
)

// asSource makes a reader a Source: it answers everything that a store answers but for digests.
type asSource struct{ *Reader }

func (asSource) Digests(context.Context, int64, int64) ([]shard.Leaf, error) { panic("nobody asks") }

// Everything that can be asked is answered as by one store with all data, through any node.
func TestClusterAnswersAsOneStore(t *testing.T) {
	rows := []struct {
		nodes, replication int
		loss               float64
		fresh              time.Duration
	}{
		{2, 2, 0, time.Hour},
		{3, 3, 0.3, time.Hour},
		{3, 3, 0.0003, time.Hour},
		{3, 3, 0.3, 1000 * time.Hour}, // everything is read raw
		{4, 1, 0, time.Hour},
		{5, 3, 0.0006, time.Hour},
		{5, 5, 0.001, 9 * time.Hour},
	}
	for i, row := range rows {
		t.Run(fmt.Sprint(row), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 7))
			c := newReadCluster(t, row.nodes, row.replication, ReaderOptions{Fresh: row.fresh})
			whole := source{c.fill(t, r, row.loss)}
			for range 8 {
				compare(t, whole, asSource{c.nodes[r.IntN(row.nodes)].reader}, randomQuery(r))
			}
			var verified, differed float64
			for _, n := range c.nodes {
				verified += testutil.ToFloat64(n.reader.m.verified)
				differed += testutil.ToFloat64(n.reader.m.differed)
			}
			if several := row.replication > 2; several != (verified > 0) || several && row.fresh < 100*time.Hour && row.loss > 0 != (differed > 0) {
				t.Errorf("%v partitions were found equal and %v different", verified, differed)
			}
		})
	}
}

// A node that is alone answers by its own storage.
func TestAlone(t *testing.T) {
	c := newReadCluster(t, 1, 3, ReaderOptions{})
	c.fill(t, rand.New(rand.NewPCG(1, 2)), 0)
	n := c.nodes[0]
	for range 3 {
		compare(t, source{n.store}, asSource{n.reader}, randomQuery(rand.New(rand.NewPCG(3, 4))))
	}
	sel, err := n.reader.Scan(t.Context(), firstTime, lastTime, everything)
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Close()
	if _, ok := sel.(*store.Selection); !ok || n.asked.Load() > 0 {
		t.Errorf("the selection is a %T, and the node was asked %d times", sel, n.asked.Load())
	}
}

// With one node of three down everything is answered, whoever is asked; with two down nothing is, and the error says who is missing.
func TestNodesDown(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	c := newReadCluster(t, 3, 3, ReaderOptions{Fresh: time.Hour})
	whole := source{c.fill(t, r, 0.001)}
	rows := []struct {
		name  string
		known bool // the others know it
	}{{"known", true}, {"unknown", false}}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c.down()
			refuse := func(w http.ResponseWriter, _ *http.Request) bool {
				panic(http.ErrAbortHandler)
			}
			c.nodes[1].before.Store(&refuse)
			if row.known {
				c.down(1)
			}
			for range 4 {
				compare(t, whole, asSource{c.nodes[2*r.IntN(2)].reader}, randomQuery(r))
			}
			c.nodes[2].before.Store(&refuse)
			if row.known {
				c.down(1, 2)
			}
			for name, ask := range everythingOf {
				if name == "metadata" {
					continue
				}
				_, err := ask(t.Context(), asSource{c.nodes[0].reader}, randomQuery(r))
				wantUnavailable(t, name, err, "n1, n2")
			}
			_, err := c.nodes[0].reader.Aggregate(t.Context(), firstTime, lastTime, everything)
			wantUnavailable(t, "aggregate", err, "n1, n2")
			c.nodes[1].before.Store(nil)
			c.nodes[2].before.Store(nil)
		})
	}
}

func wantUnavailable(t *testing.T, name string, err error, nodes string) {
	t.Helper()
	var e interface{ Unavailable() bool }
	if !errors.As(err, &e) || !e.Unavailable() || !errors.Is(err, series.ErrUnavailable) || !strings.Contains(err.Error(), nodes) {
		t.Errorf("%s: the error is %v", name, err)
	}
}

// Who allows it gets a partial answer, which says what is missing.
func TestPartialAnswer(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	c := newReadCluster(t, 3, 3, ReaderOptions{Fresh: time.Hour})
	c.fill(t, r, 0)
	c.down(1, 2)
	q := query{firstTime, lastTime, []*labels.Matcher{everything}}
	own, err := scanAll(t.Context(), source{c.nodes[0].store}, q)
	if err != nil {
		t.Fatal(err)
	}
	ctx := AllowPartial(t.Context())
	got, err := scanAll(ctx, c.nodes[0].reader, q)
	if d := own.differences(got); err != nil || d != "" {
		t.Errorf("scan: %v %s", err, d)
	}
	if names := Missing(ctx); !slices.Equal(names, []string{"n1", "n2"}) {
		t.Errorf("missing are %v", names)
	}
	qr, err := c.nodes[0].reader.Querier(firstTime, lastTime)
	if err != nil {
		t.Fatal(err)
	}
	defer qr.Close()
	set := qr.Select(ctx, false, nil, everything)
	names, notes, err := qr.LabelNames(ctx, nil)
	if !set.Next() || err != nil || len(names) == 0 {
		t.Fatal(set.Err(), err, names)
	}
	for _, w := range []annotations.Annotations{set.Warnings(), notes} {
		if text := fmt.Sprint(w.AsErrors()); !strings.Contains(text, "partial") || !strings.Contains(text, "n1, n2") {
			t.Errorf("the warnings are %s", text)
		}
	}
	want, err := c.nodes[0].store.Aggregate(ctx, firstTime, lastTime, everything)
	if err != nil {
		t.Fatal(err)
	}
	total, err := c.nodes[0].reader.Aggregate(ctx, firstTime, lastTime, everything)
	if err == nil {
		err = sameStats(want, total)
	}
	if err != nil {
		t.Error(err)
	}
}

// A node that is silent is not waited for as long as there are others.
func TestSlowNodeIsHedged(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	c := newReadCluster(t, 4, 3, ReaderOptions{Fresh: time.Hour, Hedge: 20 * time.Millisecond})
	whole := source{c.fill(t, r, 0.001)}
	release := make(chan struct{})
	defer close(release)
	stall := func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	}
	c.nodes[1].before.Store(&stall)
	reader := c.nodes[0].reader
	for name, ask := range everythingOf {
		if name == "metadata" {
			continue
		}
		reader.pace = pace{}
		q := randomQuery(r)
		want, err := ask(t.Context(), whole, q)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ask(t.Context(), asSource{reader}, q)
		if d := want.differences(got); err != nil || d != "" {
			t.Errorf("%s %s: %v %s", name, q, err, d)
		}
	}
	if n := testutil.ToFloat64(reader.m.hedges); n == 0 {
		t.Error("nobody else was asked")
	}
}

// With the consistency one, all replicas are read; with all, one is enough.
func TestReadersHearEnough(t *testing.T) {
	rows := []struct {
		c    Consistency
		want [6]int // by owners
	}{
		{Quorum, [6]int{1, 1, 1, 2, 2, 3}},
		{One, [6]int{1, 1, 2, 3, 4, 5}},
		{All, [6]int{1, 1, 1, 1, 1, 1}},
	}
	for _, row := range rows {
		r := NewReader(nil, nil, nil, ReaderOptions{Acks: row.c.Acks})
		for owners, want := range row.want {
			if got := r.needed(owners); got != want {
				t.Errorf("%v: of %d owners %d must be heard, want %d", row.c, owners, got, want)
			}
		}
	}
}

// The windows that differ are told of.
func TestDiffer(t *testing.T) {
	told := map[int64]int{}
	var mu sync.Mutex
	c := newReadCluster(t, 3, 3, ReaderOptions{Fresh: time.Hour, Hedge: time.Minute, Differ: func(parts *shard.Set, window int64) {
		mu.Lock()
		defer mu.Unlock()
		told[window] += parts.Len()
	}})
	ls := labels.FromStrings("__name__", "m", "device_id", "d")
	at := firstTime + 5*shard.WindowMillis
	appendTo(t, c.nodes[1].store, []written{{ls: ls, t: at, v: 1}, {ls: ls, t: at + shard.WindowMillis, v: 2}})
	appendTo(t, c.nodes[0].store, []written{{ls: ls, t: at, v: 1}})
	appendTo(t, c.nodes[2].store, []written{{ls: ls, t: at, v: 1}, {ls: ls, t: at + shard.WindowMillis, v: 2}})
	total, err := c.nodes[0].reader.Aggregate(t.Context(), firstTime, lastTime, everything)
	if err != nil || total.Samples != 2 || total.Last != 2 {
		t.Errorf("%+v, %v", total, err)
	}
	if len(told) != 1 || told[shard.Window(at+shard.WindowMillis)] != 1 {
		t.Errorf("told of %v", told)
	}
}

var _ Source = asSource{}
