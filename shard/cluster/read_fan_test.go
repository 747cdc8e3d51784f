package cluster

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/shard"
)

// unowned returns a series, a node that does not own it, and its owners.
func (c *readCluster) unowned(t *testing.T) (ls labels.Labels, self int, owners []uint8) {
	t.Helper()
	for d := range 1000 {
		ls = labels.FromStrings("__name__", "m", "device_id", fmt.Sprint("d", d))
		owners = c.ring.Owners(shard.Partition(ls, "device_id"))
		for i := range c.nodes {
			if !slices.Contains(owners, uint8(i)) {
				return ls, i, owners
			}
		}
	}
	t.Fatal("every node owns everything")
	return
}

// refuses makes a node answer with its digests only.
func (n *readNode) refuses() {
	f := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == pathDigests {
			return true
		}
		http.Error(w, "no", http.StatusInternalServerError)
		return false
	}
	n.before.Store(&f)
}

// of is a question about one series and all times.
func of(ls labels.Labels) query {
	q := query{mint: math.MinInt64, maxt: math.MaxInt64}
	ls.Range(func(l labels.Label) { q.ms = append(q.ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value)) })
	return q
}

// wantSamples reads a series by a node.
func (c *readCluster) wantSamples(t *testing.T, node int, ls labels.Labels, want int) {
	t.Helper()
	q := of(ls)
	got, err := scanAll(t.Context(), c.nodes[node].reader, q)
	if err != nil || len(got[ls.String()]) != want {
		t.Errorf("scan: %d of %d samples, %v", len(got[ls.String()]), want, err)
	}
	s, err := c.nodes[node].reader.Aggregate(t.Context(), q.mint, q.maxt, q.ms...)
	if err != nil || s.Samples != uint64(want) {
		t.Errorf("aggregate: %d of %d samples, %v", s.Samples, want, err)
	}
}

// When a replica fails, the one that it was to be compared with takes its place: then a third is to be heard of the newest data.
func TestThirdReplicaIsHeard(t *testing.T) {
	c := newReadCluster(t, 4, 3, ReaderOptions{Fresh: time.Hour})
	ls, self, owners := c.unowned(t)
	old, fresh := written{ls: ls, t: firstTime, v: 1}, written{ls: ls, t: lastTime - 1000, v: 2}
	for _, o := range owners {
		appendTo(t, c.nodes[o].store, []written{old})
	}
	appendTo(t, c.nodes[owners[0]].store, []written{fresh})
	appendTo(t, c.nodes[owners[2]].store, []written{fresh})
	c.wantSamples(t, self, ls, 2)
	c.nodes[owners[0]].refuses()
	c.wantSamples(t, self, ls, 2)
}

// When all replicas that were found equal fail, the others are enough if they are as many as must be heard.
func TestOthersAreEnough(t *testing.T) {
	c := newReadCluster(t, 5, 4, ReaderOptions{Fresh: time.Hour})
	ls, self, owners := c.unowned(t)
	for i, o := range owners {
		appendTo(t, c.nodes[o].store, []written{{ls: ls, t: firstTime, v: 1}})
		if i != 3 {
			appendTo(t, c.nodes[o].store, []written{{ls: ls, t: firstTime + 1, v: 2}})
		}
		if i != 2 {
			appendTo(t, c.nodes[o].store, []written{{ls: ls, t: lastTime - 1, v: 3}})
		}
	}
	c.nodes[owners[0]].refuses()
	c.nodes[owners[1]].refuses()
	c.wantSamples(t, self, ls, 3)
	q := of(ls)
	if s, err := c.nodes[self].reader.Aggregate(t.Context(), q.mint, firstTime+1000, q.ms...); err != nil || s.Samples != 2 {
		t.Errorf("aggregate of what is old: %d samples, %v", s.Samples, err)
	}
	c.nodes[owners[2]].refuses()
	_, err := scanAll(t.Context(), c.nodes[self].reader, of(ls))
	wantUnavailable(t, "scan", err, nameOf(c.nodes[self].View(), int(owners[2])))
}

// fanQuestion is a question to six nodes, none of which is this one.
func fanQuestion(t *testing.T, o ReaderOptions) *question {
	t.Helper()
	v := &shard.View{Self: -1}
	var nodes []shard.Node
	for i := range 6 {
		nodes = append(nodes, shard.Node{ID: fmt.Sprint("n", i), State: shard.Active})
		v.Members = append(v.Members, shard.Member{Node: nodes[i], Up: true})
	}
	var err error
	if v.Ring, err = shard.NewRing(nodes, 3); err != nil {
		t.Fatal(err)
	}
	n := &readNode{}
	n.view.Store(v)
	return &question{r: NewReader(nil, n, nil, o), v: v, parts: shard.All(), budget: &budget{}, lost: newLost(v, false)}
}

// A job whose answers are added up has none about a partition twice, although a slow node answers while others were asked in its place.
func TestNoPartitionIsAnsweredTwice(t *testing.T) {
	q := fanQuestion(t, ReaderOptions{Hedge: time.Millisecond})
	a, b := forkOf(t, q.v.Ring)
	parts := &shard.Set{}
	parts.Add(a)
	parts.Add(b)
	slow, second, third := int(q.v.Ring.Owners(a)[0]), int(q.v.Ring.Owners(a)[1]), int(q.v.Ring.Owners(b)[1])
	answered, dropped := make(chan struct{}), make(chan struct{})
	wait := func(ctx context.Context, ch chan struct{}) error {
		select {
		case <-ch:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	j := job[int]{q: q, kind: "test", parts: parts, need: one, once: true,
		ask: func(ctx context.Context, node int, _ *shard.Set, _ func()) (int, error) {
			switch node {
			case slow:
				return node, wait(ctx, answered)
			case second:
				defer close(answered)
			case third:
				return node, wait(ctx, dropped)
			}
			return node, nil
		},
		drop: func(int) {
			select {
			case <-dropped:
			default:
				close(dropped)
			}
		},
	}
	got, err := j.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	count := map[uint16]int{}
	for _, r := range got {
		for p := range r.parts.Partitions() {
			count[p]++
		}
	}
	if len(count) != 2 || count[a] != 1 || count[b] != 1 {
		t.Errorf("answers by partition: %v", count)
	}
}

// forkOf returns two partitions with the same first owner and different second ones.
func forkOf(t *testing.T, ring *shard.Ring) (a, b uint16) {
	t.Helper()
	for p := range uint16(shard.Partitions) {
		x, y := ring.Owners(0), ring.Owners(p)
		if x[0] == y[0] && x[1] != y[1] && x[1] != y[2] && x[2] != y[1] {
			return 0, p
		}
	}
	t.Fatal("there are none")
	return
}

// Hedges are a small part of all calls, however slow nodes are.
func TestHedgesAreBounded(t *testing.T) {
	var p pace
	n, now := 0, time.Now()
	for range 100 {
		if p.mayHedge(now) {
			n++
		}
	}
	if n != maxDebt {
		t.Errorf("%d hedges of 100 calls that nobody answers, want %v", n, maxDebt)
	}
	for range 16 {
		p.observe("scan", time.Second)
	}
	first, second, third := p.mayHedge(now), p.mayHedge(now), p.mayHedge(now)
	if !first || !second || third {
		t.Error("16 calls earn two hedges")
	}
	if p.mayHedge(now.Add(999*time.Millisecond)) || !p.mayHedge(now.Add(time.Second)) {
		t.Error("a second earns one")
	}
	if m := p.median("scan"); m != time.Second {
		t.Errorf("the median is %v", m)
	}
}

// All partitions are asked of so many owners, spread over nodes, and one that fails is replaced.
func TestFanCoversAllPartitions(t *testing.T) {
	for _, few := range []bool{false, true} {
		q := fanQuestion(t, ReaderOptions{})
		j := job[int]{q: q, kind: "test", parts: q.parts, need: q.needed, few: few,
			ask: func(_ context.Context, node int, _ *shard.Set, _ func()) (int, error) {
				if node == 3 {
					return 0, fmt.Errorf("broken")
				}
				return node, nil
			}}
		got, err := j.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for p := range uint16(shard.Partitions) {
			nodes := map[int]bool{}
			for _, r := range got {
				if r.parts.Has(p) {
					nodes[r.node] = true
					if !slices.Contains(q.v.Ring.Owners(p), uint8(r.node)) {
						t.Fatalf("partition %d is answered by node %d, which does not own it", p, r.node)
					}
				}
			}
			if len(nodes) < 2 || nodes[3] {
				t.Fatalf("partition %d is answered by %v", p, nodes)
			}
		}
	}
}
