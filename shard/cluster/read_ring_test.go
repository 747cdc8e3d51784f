package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/shard"
)

// A question about one device and one metric goes to owners of its partition, and to no more than must be heard.
func TestOneDeviceIsAskedOfItsOwners(t *testing.T) {
	c := newReadCluster(t, 6, 3, ReaderOptions{Hedge: time.Minute}) // else a node that is slow for a moment is one more who is asked
	for d := range 20 {
		ms := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "temperature"), labels.MustNewMatcher(labels.MatchEqual, "device_id", fmt.Sprint("d", d))}
		owners := c.ring.Owners(shard.Partition(labels.FromStrings("__name__", "temperature", "device_id", fmt.Sprint("d", d)), "device_id"))
		before := make([]int64, len(c.nodes))
		for i, n := range c.nodes {
			before[i] = n.asked.Load()
		}
		self := d % len(c.nodes)
		if _, err := c.nodes[self].reader.Aggregate(t.Context(), lastTime-3_600_000, lastTime, ms...); err != nil {
			t.Fatal(err)
		}
		asked := int64(0)
		for i, n := range c.nodes {
			more := n.asked.Load() - before[i]
			asked += more
			if more > 0 && !slices.Contains(owners, uint8(i)) {
				t.Errorf("d%d: node %d was asked, the owners are %v", d, i, owners)
			}
		}
		want := int64(2)
		if slices.Contains(owners, uint8(self)) {
			want = 1
		}
		if asked != want {
			t.Errorf("d%d: %d requests, want %d", d, asked, want)
		}
	}
}

// While nodes know different rings, a question begins again.
func TestStaleRing(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	c := newReadCluster(t, 3, 3, ReaderOptions{Fresh: time.Hour})
	whole := source{c.fill(t, r, 0)}
	old := c.nodes[0].View()
	nodes := slices.Clone(c.ring.Nodes())
	nodes[1].Weight = 2
	ring, err := shard.NewRing(nodes, 3)
	if err != nil {
		t.Fatal(err)
	}
	c.ring = ring
	c.see(old.Members)
	// All others know the new ring, and so does this node as soon as it has asked.
	c.nodes[0].view.Store(old)
	learn := func(http.ResponseWriter, *http.Request) bool {
		v := *c.nodes[1].View()
		v.Self = 0
		c.nodes[0].view.Store(&v)
		return true
	}
	c.nodes[1].before.Store(&learn)
	c.nodes[2].before.Store(&learn)
	compare(t, whole, asSource{c.nodes[0].reader}, query{firstTime, lastTime, []*labels.Matcher{everything}})
	if n := testutil.ToFloat64(c.nodes[0].reader.m.restarts); n == 0 {
		t.Error("nothing began again")
	}
	// This node never learns.
	c.nodes[1].before.Store(nil)
	c.nodes[2].before.Store(nil)
	c.nodes[0].view.Store(old)
	_, err = c.nodes[0].reader.Aggregate(t.Context(), firstTime, lastTime, everything)
	wantUnavailable(t, "aggregate", err, "409")
	// One node that has not heard yet stops nobody.
	c.see(old.Members)
	c.nodes[1].view.Store(&shard.View{Ring: old.Ring, Members: old.Members, Self: 1})
	compare(t, whole, asSource{c.nodes[0].reader}, query{firstTime, lastTime, []*labels.Matcher{everything}})
}

// The memory of a query is bounded, and the error says so.
func TestTooMuch(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	c := newReadCluster(t, 4, 2, ReaderOptions{MaxBytes: 20_000})
	c.fill(t, r, 0)
	_, err := c.nodes[0].reader.Scan(t.Context(), firstTime, lastTime, everything)
	if err == nil || !strings.Contains(err.Error(), "MiB of memory") {
		t.Errorf("the error is %v", err)
	}
}
