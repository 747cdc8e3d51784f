package cluster

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/shard"
)

// wantAsOne asks random queries through random nodes, whose answers must be those of Prometheus's engine over one store with all data. It returns
// what became of the aggregations.
func (c *readCluster) wantAsOne(t *testing.T, r *rand.Rand, whole *store.Store, n int) map[string]int {
	t.Helper()
	oracle := promAsker{engine: newProm(), over: whole}
	var askers []promAsker
	for _, n := range c.nodes {
		askers = append(askers, n.asker())
	}
	for range n {
		q, i := randomAggregation(r), r.IntN(len(askers))
		if err := q.differs(q.ask(t.Context(), askers[i]), oracle); err != nil {
			t.Errorf("node %d: %s: %v", i, q, err)
		}
	}
	out := map[string]int{}
	for _, a := range askers {
		for k, n := range a.outcomes(t) {
			out[k] += n
		}
	}
	return out
}

// Aggregations through any node have the answers of Prometheus's engine over one store: whether replicas are equal or not, old data and new.
func TestScatteredAggregations(t *testing.T) {
	rows := []struct {
		nodes, replication int
		loss               float64
		fresh              time.Duration
		observer           bool
		want               []string // outcomes that must occur; nil: nothing is scattered
	}{
		{1, 1, 0, time.Hour, false, nil},
		{3, 3, 0.3, time.Hour, false, nil},
		{2, 1, 0, time.Hour, false, []string{"pushed"}},
		{4, 1, 0, 1000 * time.Hour, false, []string{"pushed"}}, // one replica is all that there is, however new
		{4, 2, 0, time.Hour, false, []string{"pushed"}},
		{5, 3, 0, time.Hour, false, []string{"pushed", "read"}},
		{5, 3, 0.0006, time.Hour, false, []string{"pushed", "partly"}},
		{6, 3, 0.3, time.Hour, false, []string{"read"}},
		{5, 3, 0, 1000 * time.Hour, false, []string{"read"}},
		{4, 3, 0.0003, time.Hour, true, []string{"pushed", "partly"}},
		{4, 3, 0.0006, 7 * time.Hour, true, []string{"partly"}},
	}
	for i, row := range rows {
		t.Run(fmt.Sprint(row), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 77))
			c := newReadCluster(t, row.nodes, row.replication, ReaderOptions{Fresh: row.fresh})
			if row.observer {
				c.observe(t, 0)
			}
			whole := c.fill(t, r, row.loss)
			got := c.wantAsOne(t, r, whole, 60)
			lacks := func() bool { return slices.ContainsFunc(row.want, func(o string) bool { return got[o] == 0 }) }
			for more := 0; lacks() && more < 20; more++ { // which questions can be pushed is left to chance, and to who answers first
				for o, n := range c.wantAsOne(t, r, whole, 30) {
					got[o] += n
				}
			}
			if row.want == nil && len(got) > 0 {
				t.Errorf("the outcomes are %v", got)
			}
			for _, o := range row.want {
				if got[o] == 0 {
					t.Errorf("the outcomes are %v, %q is not among them", got, o)
				}
			}
		})
	}
}

// only makes a node answer to evaluations by f, and to all else as always.
func (n *readNode) only(f func(w http.ResponseWriter)) {
	g := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != pathEvaluate {
			return true
		}
		f(w)
		return false
	}
	n.before.Store(&g)
}

// Nodes that break off, that do not know the question, or that answer nonsense change no answer.
func TestScatterFallsBack(t *testing.T) {
	refuse := func(code int) func(*readNode) {
		return func(n *readNode) {
			n.only(func(w http.ResponseWriter) { http.Error(w, "404 page not found", code) })
		}
	}
	rows := []struct {
		name        string
		replication int
		break1      func(n *readNode)
		want        string // an outcome that must occur
	}{
		{"old, with replicas", 3, refuse(http.StatusNotFound), "pushed"},
		{"old, alone", 1, refuse(http.StatusNotFound), "partly"},
		{"refuses", 1, refuse(http.StatusBadRequest), "partly"},
		{"fails", 3, refuse(http.StatusInternalServerError), "pushed"},
		{"dies", 1, func(n *readNode) { n.only(func(http.ResponseWriter) { panic(http.ErrAbortHandler) }) }, "partly"},
		{"breaks off in the middle", 1, func(n *readNode) { n.cut.Store(40) }, "partly"},
		{"breaks off in the middle, with replicas", 3, func(n *readNode) { n.cut.Store(100) }, "pushed"},
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 78))
			c := newReadCluster(t, 5, row.replication, ReaderOptions{Fresh: time.Hour, Hedge: time.Minute})
			whole := c.fill(t, r, 0)
			row.break1(c.nodes[1])
			if got := c.wantAsOne(t, r, whole, 40); got[row.want] == 0 {
				t.Errorf("the outcomes are %v, %q is not among them", got, row.want)
			}
			var unpushed float64
			for _, n := range c.nodes {
				unpushed += testutil.ToFloat64(n.reader.m.unpushed)
			}
			if (row.replication == 1) != (unpushed > 0) {
				t.Errorf("%v partitions were not evaluated where they are", unpushed)
			}
		})
	}
}

// A node that evaluates for long shows that it lives, and nobody else is asked; one that is silent is not waited for.
func TestScatterHedgesSilentNodesOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 84))
	c := newReadCluster(t, 4, 3, ReaderOptions{Fresh: time.Hour, Hedge: 700 * time.Millisecond})
	c.observe(t, 0)
	whole := c.fill(t, r, 0)
	q := promQuestion{text: "sum by (site) (rate(requests_total[1h]))", start: time.UnixMilli(firstTime + 5*3600_000)}
	n, a := c.nodes[0], c.nodes[0].asker()
	asked := func(again float64) {
		t.Helper()
		if err := q.differs(q.ask(t.Context(), a), promAsker{engine: newProm(), over: whole}); err != nil {
			t.Error(err)
		}
		if got := a.outcomes(t); got["pushed"] == 0 || got["read"]+got["partly"] > 0 {
			t.Errorf("the outcomes are %v", got)
		}
		if hedges := testutil.ToFloat64(n.reader.m.hedges); (hedges > 0) != (again > 0) {
			t.Errorf("%v nodes were asked in the place of others", hedges)
		}
	}
	asked(0)
	for _, n := range c.nodes[1:] {
		n.delay.Store(int64(time.Second))
	}
	asked(0)
	for _, n := range c.nodes[1:] {
		n.delay.Store(0)
	}
	release := make(chan struct{})
	defer close(release)
	c.nodes[1].only(func(http.ResponseWriter) { <-release })
	asked(1)
}

// A cluster none of whose other nodes knows the question is read as ever.
func TestScatterAmongOldNodes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 79))
	c := newReadCluster(t, 4, 2, ReaderOptions{Fresh: time.Hour})
	whole := c.fill(t, r, 0)
	for _, n := range c.nodes {
		n.only(func(w http.ResponseWriter) { http.NotFound(w, nil) })
	}
	if got := c.wantAsOne(t, r, whole, 20); got["read"] == 0 || got["pushed"]+got["partly"] > 0 {
		t.Errorf("the outcomes are %v", got)
	}
}

// While a node is down its replicas answer; when too few are left the error says who is missing.
func TestScatterWithNodesDown(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 80))
	c := newReadCluster(t, 5, 3, ReaderOptions{Fresh: time.Hour})
	whole := c.fill(t, r, 0.0006)
	abort := func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
	c.nodes[1].before.Store(&abort)
	if got := c.wantAsOne(t, r, whole, 20); got["pushed"]+got["partly"] == 0 { // unknown to others
		t.Errorf("the outcomes are %v", got)
	}
	c.nodes[1].before.Store(nil)
	c.down(1)
	if got := c.wantAsOne(t, r, whole, 20); got["pushed"]+got["partly"] == 0 {
		t.Errorf("the outcomes are %v", got)
	}
	c.down(1, 2, 3)
	q := promQuestion{text: "sum(temperature)", start: time.UnixMilli(firstTime + 5*3600_000)}
	res := q.ask(t.Context(), c.nodes[0].asker())
	wantUnavailable(t, "sum", res.Err, "n1, n2, n3")
}

// Nodes that know another ring are asked again by the new one.
func TestScatterOverANewRing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 81))
	c := newReadCluster(t, 5, 2, ReaderOptions{Fresh: time.Hour})
	whole := c.fill(t, r, 0)
	a := c.nodes[0].asker()
	old := c.nodes[0].View()
	other, err := shard.NewRing(c.ring.Nodes(), 4)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[0].view.Store(&shard.View{Ring: other, Members: old.Members, Self: 0})
	seen := func(http.ResponseWriter, *http.Request) bool {
		c.nodes[0].view.Store(old) // the news arrives when the question has been sent
		return true
	}
	for _, n := range c.nodes[1:] {
		n.before.Store(&seen)
	}
	q := promQuestion{text: "sum by (site) (rate(requests_total[1h]))", start: time.UnixMilli(firstTime + 5*3600_000)}
	if err := q.differs(q.ask(t.Context(), a), promAsker{engine: newProm(), over: whole}); err != nil {
		t.Error(err)
	}
	if testutil.ToFloat64(c.nodes[0].reader.m.restarts) == 0 {
		t.Error("no query began again")
	}
}

// Series that differ in metadata alone may lie on different nodes: they are seen together, and the error is the engine's.
func TestScatterSeesMetadataTogether(t *testing.T) {
	c := newReadCluster(t, 4, 1, ReaderOptions{Fresh: time.Hour})
	whole := openStore(t, store.Options{})
	for _, kind := range []string{"gauge", "counter"} {
		for d := range 20 {
			ls := labels.FromStrings("__name__", "m", "__type__", kind, "site", fmt.Sprint("s", d))
			for k := range int64(20) {
				s := []written{{ls: ls, t: firstTime + k*60_000, v: float64(k)}}
				appendTo(t, whole, s)
				appendTo(t, c.nodes[c.ring.Owners(shard.Partition(ls, "device_id"))[0]].store, s)
			}
		}
	}
	q := promQuestion{text: "sum(increase(m[10m]))", start: time.UnixMilli(firstTime + 15*60_000)}
	want := q.ask(t.Context(), promAsker{engine: newProm(), over: whole})
	got := q.ask(t.Context(), c.nodes[0].asker())
	if want.Err == nil || got.Err == nil || !strings.Contains(got.Err.Error(), "same labelset") {
		t.Errorf("error %v, want %v", got.Err, want.Err)
	}
}

// Cancelling a query ends it, whatever other nodes are at.
func TestScatterEndsWithItsQuery(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 82))
	c := newReadCluster(t, 3, 1, ReaderOptions{Fresh: time.Hour})
	c.fill(t, r, 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked, told := make(chan struct{}, 2), make(chan struct{}, 2)
	for _, n := range c.nodes[1:] {
		f := func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != pathEvaluate {
				return true
			}
			_, _ = io.ReadAll(r.Body) // until then the server does not notice that the other side has gone
			asked <- struct{}{}
			<-r.Context().Done()
			told <- struct{}{}
			return false
		}
		n.before.Store(&f)
	}
	go func() {
		<-asked
		<-asked
		cancel()
	}()
	q := promQuestion{text: "sum(temperature)", start: time.UnixMilli(firstTime + 5*3600_000)}
	if res := q.ask(ctx, c.nodes[0].asker()); res.Err == nil {
		t.Error("it has an answer")
	}
	for range 2 {
		select {
		case <-told:
		case <-time.After(10 * time.Second):
			t.Error("a node was not told")
		}
	}
}
