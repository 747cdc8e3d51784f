package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

var writeSeed = flag.Uint64("write-seed", 0, "replay one seed of the property test of writes; 0: many")

// A trial is one batch that is written while some nodes fail.
type trial struct {
	w      *writeWorld
	down   []int
	broken []int            // answer 503; the first node's own storage fails
	full   map[string][]int // key → nodes that reject the series
	keys   map[int]string   // canonical, of the series of the batch
	want   map[int][]string // what each has
	bad    map[int]bool     // no node can store it
	need   func(n int) int
}

// expect says what must come of series i: an error of the whole batch, a rejection, or that it is stored.
func (x *trial) expect(i int) (unavailable, rejected bool) {
	v := x.w.nodes[0].View()
	p := shard.PartitionOfKey([]byte(x.keys[i]), "device_id")
	for _, list := range [][]uint8{v.Ring.Owners(p), v.Ring.Next(p)} {
		failed, refused := 0, 0
		for _, n := range list {
			switch {
			case x.fails(int(n)):
				failed++
			case x.bad[i] || slices.Contains(x.full[x.keys[i]], int(n)):
				refused++
			}
		}
		need := x.need(len(list))
		unavailable = unavailable || len(list)-failed < need
		rejected = rejected || len(list)-failed-refused < need
	}
	return unavailable, rejected
}

func (x *trial) fails(n int) bool {
	return slices.Contains(x.broken, n) || n > 0 && slices.Contains(x.down, n)
}

// Random batches, rings in the middle of changes, and nodes that are down, fail, or are full. What Append says is what must be, by the rule
// that doc.go states; what it acknowledged is on as many nodes as it says, and, after the hints, on all that can have it.
func TestWritesAmongFailures(t *testing.T) {
	seeds := []uint64{*writeSeed}
	if *writeSeed == 0 {
		seeds = nil
		for s := range uint64(150) {
			seeds = append(seeds, s+1)
		}
	}
	outcomes := map[string]int{}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { writeAmongFailures(t, seed, outcomes) })
	}
	if *writeSeed == 0 && (outcomes["stored"] < 100 || outcomes["unavailable"] < 50 || outcomes["rejected"] < 20) {
		t.Errorf("the test tests too little: %v", outcomes)
	}
}

func writeAmongFailures(t *testing.T, seed uint64, outcomes map[string]int) {
	r := rand.New(rand.NewPCG(seed, 9))
	n := 2 + r.IntN(5)
	w := newWriteWorld(t, n, 1, WriterOptions{Consistency: Consistency(r.IntN(3)), MaxQueued: 1 << 30})
	sent := map[string]map[string]bool{}
	for round := range 4 {
		x := newTrial(t, r, w)
		b := x.batch(r, round*1000)
		for i, all := range x.want {
			for _, s := range all {
				if sent[x.keys[i]] == nil {
					sent[x.keys[i]] = map[string]bool{}
				}
				sent[x.keys[i]][s] = true
			}
		}
		err := w.writer.Append(context.Background(), b)
		x.check(t, b, err, outcomes)
		scribble(b)
		w.settle()
		x.heal(t, err)
	}
	for _, node := range w.nodes {
		for key, all := range node.memory.samples {
			for s := range all {
				if !sent[key][s] {
					t.Errorf("%q has %s, which nobody sent", key, s)
				}
			}
		}
	}
}

// newTrial decides which nodes do what, and gives all of them a new ring.
func newTrial(t *testing.T, r *rand.Rand, w *writeWorld) *trial {
	x := &trial{w: w, full: map[string][]int{}, keys: map[int]string{}, want: map[int][]string{}, bad: map[int]bool{}, need: w.writer.Consistency().Acks}
	states := make([]shard.State, len(w.nodes))
	for i := range states {
		if states[i] = shard.Active; i > 0 && r.IntN(8) == 0 {
			states[i] = []shard.State{shard.Joining, shard.Leaving}[r.IntN(2)]
		}
	}
	for i := range w.nodes {
		switch r.IntN(10) {
		case 0:
			x.down = append(x.down, i)
		case 1:
			x.broken = append(x.broken, i)
		}
	}
	w.ring(t, 1+r.IntN(3), states, x.down)
	for i, node := range w.nodes {
		code := []int{503, 500, 429, 200}[r.IntN(4)] // 200 without an answer in it is no acknowledgement
		node.before, node.memory.fail = nil, nil
		if slices.Contains(x.broken, i) {
			node.before = refuse(code)
			node.memory.fail = func() error { return errDisk }
		}
		node.memory.reject = func(key string) string {
			if slices.Contains(x.full[key], i) {
				return "max_series"
			}
			return ""
		}
	}
	return x
}

// batch makes what is written: also series of sloppy senders, and such as cannot be stored anywhere.
func (x *trial) batch(r *rand.Rand, from int) *series.Batch {
	b := randomBatch(r, r.IntN(30), from)
	for i := range b.Series {
		e := &b.Series[i]
		x.want[i] = contents(b, i)
		switch r.IntN(12) {
		case 0:
			x.keys[i] = string(e.Key)
			e.Key = loosen(r, e.Key)
			continue
		case 1:
			e.Key = series.AppendLabel(nil, "no_name", fmt.Sprint(from+i))
			x.bad[i] = true
		case 2:
			e.Key = []byte("no frames at all")
			x.bad[i] = true
		case 3:
			x.full[string(e.Key)] = r.Perm(len(x.w.nodes))[:1+r.IntN(2)]
		}
		x.keys[i] = string(e.Key)
	}
	return b
}

// check compares what Append said with what must be.
func (x *trial) check(t *testing.T, b *series.Batch, err error, outcomes map[string]int) {
	t.Helper()
	unavailable, samples := false, 0
	for i := range b.Series {
		if len(x.want[i]) > 0 && x.keys[i] != "no frames at all" {
			u, _ := x.expect(i)
			unavailable = unavailable || u
		}
	}
	if (err != nil) != (unavailable || x.onlyMetadataFails(b)) || err != nil && !errors.Is(err, series.ErrUnavailable) {
		t.Fatalf("error %v, want one: %v; down %v, broken %v", err, unavailable, x.down, x.broken)
	}
	if err != nil {
		outcomes["unavailable"]++
		return
	}
	for i, e := range b.Series {
		if len(x.want[i]) == 0 {
			continue
		}
		_, rejected := x.expect(i)
		if rejected = rejected || x.bad[i]; e.Bad != rejected {
			t.Fatalf("series %d, %q: rejected %v, want %v; full %v, down %v, broken %v", i, x.keys[i], e.Bad, rejected, x.full[x.keys[i]], x.down, x.broken)
		}
		if e.Bad {
			outcomes["rejected"]++
			samples += e.Count
			continue
		}
		outcomes["stored"]++
		x.stored(t, i)
	}
	if b.Rejected.Samples != samples {
		t.Fatalf("%d samples are counted as rejected, want %d", b.Rejected.Samples, samples)
	}
}

// onlyMetadataFails: there is nothing but metadata, and this node cannot store it.
func (x *trial) onlyMetadataFails(b *series.Batch) bool {
	for i := range b.Series {
		if len(x.want[i]) > 0 && x.keys[i] != "no frames at all" {
			return false
		}
	}
	return len(b.Metadata) > 0 && slices.Contains(x.broken, 0)
}

// stored makes sure that enough nodes have a series at this moment.
func (x *trial) stored(t *testing.T, i int) {
	t.Helper()
	v := x.w.nodes[0].View()
	p := shard.PartitionOfKey([]byte(x.keys[i]), "device_id")
	for _, list := range [][]uint8{v.Ring.Owners(p), v.Ring.Next(p)} {
		have := 0
		for _, n := range list {
			if x.w.nodes[n].memory.has(x.keys[i], x.want[i]) {
				have++
			}
		}
		if have < x.need(len(list)) {
			t.Fatalf("series %d was acknowledged, and %d of %v have it", i, have, list)
		}
	}
}

// heal brings all nodes back and replays the hints: then everybody has what was acknowledged, but for what it rejects, and for
// this node's own failures, which comparing digests repairs. What was not acknowledged leaves no hints.
func (x *trial) heal(t *testing.T, err error) {
	t.Helper()
	if err != nil && len(x.w.hints.Peers()) > 0 {
		t.Fatal("a write that its sender will repeat has left hints")
	}
	for _, node := range x.w.nodes {
		node.before, node.memory.fail = nil, nil
	}
	v := *x.w.nodes[0].View()
	v.Members = slices.Clone(v.Members)
	for i := range v.Members {
		v.Members[i].Up = true
	}
	x.w.nodes[0].p.Store(&v)
	for _, id := range x.w.hints.Peers() {
		x.w.writer.replay(context.Background(), id)
	}
	if left := x.w.hints.Peers(); len(left) > 0 {
		t.Fatalf("hints of %v remain", left)
	}
	for i, all := range x.want {
		_, rejected := x.expect(i)
		if err != nil || rejected || x.bad[i] || len(all) == 0 {
			continue
		}
		for _, n := range v.Ring.Writers(shard.PartitionOfKey([]byte(x.keys[i]), "device_id")) {
			own := n == 0 && slices.Contains(x.broken, 0)
			if !own && !slices.Contains(x.full[x.keys[i]], int(n)) && !x.w.nodes[n].memory.has(x.keys[i], all) {
				t.Fatalf("node %d has not got series %d", n, i)
			}
		}
	}
}

// scribble overwrites the batch as its owner may.
func scribble(b *series.Batch) {
	for i := range b.Series {
		for j := range b.Series[i].Key {
			b.Series[i].Key[j] = 0xee
		}
		b.Series[i] = series.Entry{}
	}
	for i := range b.Samples {
		b.Samples[i] = series.Sample{T: -1, V: -1}
	}
	for i := range b.Histograms {
		b.Histograms[i] = series.Histogram{}
	}
	for i := range b.Exemplars {
		b.Exemplars[i] = series.Exemplar{}
	}
}

// simple is a batch of n series with one sample each.
func simple(n int) *series.Batch {
	b := &series.Batch{}
	for i := range n {
		key := series.AppendKey(nil, labels.FromStrings("__name__", "m", "device_id", fmt.Sprint(i)))
		b.Series = append(b.Series, series.Entry{Key: key, First: i, Count: 1})
		b.Samples = append(b.Samples, series.Sample{T: int64(1000 + i), V: 1})
	}
	return b
}

func TestAloneIsLocal(t *testing.T) {
	w := newWriteWorld(t, 1, 3, WriterOptions{})
	local := &countingLocal{}
	w.writer.local = local
	b := simple(3)
	if n := testing.AllocsPerRun(100, func() { _ = w.writer.Append(context.Background(), b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if local.last != b {
		t.Error("the batch is not the caller's")
	}
}

type countingLocal struct{ last *series.Batch }

func (l *countingLocal) Append(_ context.Context, b *series.Batch) error {
	l.last = b
	return nil
}

// hang makes a node silent until the test is over.
func hang(t *testing.T) func(http.ResponseWriter, *http.Request) bool {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	return func(http.ResponseWriter, *http.Request) bool {
		<-stop
		return true
	}
}

// A node that is slow delays nobody, takes bounded memory, and gets what it missed.
func TestSlowNode(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{PeerTimeout: time.Hour, MaxQueued: 2000})
	w.nodes[2].before = hang(t)
	for range 20 {
		if err := w.writer.Append(context.Background(), simple(50)); err != nil {
			t.Fatal(err)
		}
	}
	l := w.writer.lane(w.nodes[0].View().Members[2])
	if q := l.queued.Load(); q == 0 || q > 2000 {
		t.Errorf("%d bytes are under way to it", q)
	}
	if got := testutil.ToFloat64(l.failures.WithLabelValues("queue")); got == 0 {
		t.Error("nothing is counted as too much")
	}
	deadline := time.Now().Add(10 * time.Second)
	for len(w.hints.of("n2")) == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if len(w.hints.of("n2")) == 0 {
		t.Error("it has no hints")
	}
}

// It is said at once when too few nodes are left, though another one is silent.
func TestFailsAtOnce(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{PeerTimeout: time.Hour})
	w.nodes[2].before = hang(t)
	w.nodes[1].before = refuse(503)
	w.nodes[0].memory.fail = func() error { return errDisk }
	err := w.writer.Append(context.Background(), simple(5))
	if !errors.Is(err, series.ErrUnavailable) || !strings.Contains(err.Error(), "ing0") || !strings.Contains(err.Error(), "ing1") || strings.Contains(err.Error(), "ing2") {
		t.Errorf("error %v", err)
	}
}

// When too many are down, nothing is stored anywhere and nothing is kept for anybody.
func TestTooManyDown(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{})
	active := []shard.State{shard.Active, shard.Active, shard.Active}
	w.ring(t, 3, active, []int{1, 2})
	err := w.writer.Append(context.Background(), simple(5))
	if !errors.Is(err, series.ErrUnavailable) || !strings.Contains(err.Error(), "ing1 (down), ing2 (down)") {
		t.Errorf("error %v", err)
	}
	w.settle()
	if w.nodes[0].memory.appends != 0 || len(w.hints.Peers()) > 0 {
		t.Error("something was stored or kept")
	}
	if got := testutil.ToFloat64(w.writer.m.unavailable); got != 1 {
		t.Errorf("counted %v times", got)
	}
	w.writer.SetConsistency(One)
	if err := w.writer.Append(context.Background(), simple(5)); err != nil {
		t.Errorf("one is enough: %v", err)
	}
	w.settle()
	if len(w.hints.of("n1")) != 1 || len(w.hints.of("n2")) != 1 {
		t.Error("those who were down have no hints")
	}
}

func TestNoCluster(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{})
	v := w.view(t, -1, 2, []shard.State{shard.Joining, shard.Joining}, nil)
	w.nodes[0].p.Store(v)
	if err := w.writer.Append(context.Background(), simple(2)); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

func TestCallerGoesAway(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{PeerTimeout: time.Hour})
	w.nodes[1].before, w.nodes[2].before = hang(t), hang(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := w.writer.Append(ctx, simple(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// The ring changes between the moment at which a write was divided and the moment at which a node gets it.
func TestRingChangesMeanwhile(t *testing.T) {
	w := newWriteWorld(t, 4, 1, WriterOptions{})
	active := []shard.State{shard.Active, shard.Active, shard.Active, shard.Active}
	old := []shard.State{shard.Active, shard.Active, shard.Active, shard.Joining}
	w.ring(t, 1, active, nil)
	behind := w.view(t, 0, 1, old, nil)
	// The others know the new ring, this node learns of it when it is refused. Nodes 1 and 2 refuse what is now the fourth's alone.
	w.nodes[0].p.Store(withoutChange(t, behind))
	var told atomic.Bool
	for _, node := range w.nodes[1:] {
		node.before = func(http.ResponseWriter, *http.Request) bool {
			if !told.Swap(true) {
				w.nodes[0].p.Store(w.view(t, 0, 1, active, nil))
			}
			return false
		}
	}
	b := simple(300)
	if err := w.writer.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	for _, e := range b.Series {
		n := w.nodes[0].View().Ring.Writers(shard.PartitionOfKey(e.Key, "device_id"))[0]
		if len(w.nodes[n].memory.samples[string(e.Key)]) == 0 {
			t.Fatalf("node %d has not got %q", n, e.Key)
		}
	}
	if got := testutil.ToFloat64(w.writer.m.restarts); got != 1 {
		t.Errorf("sent anew %v times", got)
	}
}

// withoutChange is the view in which the node that joins is not there yet.
func withoutChange(t *testing.T, v *shard.View) *shard.View {
	ns := slices.DeleteFunc(slices.Clone(v.Ring.Nodes()), func(n shard.Node) bool { return n.State == shard.Joining })
	r, err := shard.NewRing(ns, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &shard.View{Ring: r, Members: v.Members[:len(ns)], Self: v.Self}
}

func TestMetadataGoesToAll(t *testing.T) {
	w := newWriteWorld(t, 4, 1, WriterOptions{})
	b := &series.Batch{Metadata: []series.Metadata{{Family: "m", Type: "gauge", Unit: "u", Help: "h"}}}
	if err := w.writer.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	w.settle()
	for i, node := range w.nodes {
		if len(node.memory.metadata) != 1 {
			t.Errorf("node %d has %v", i, node.memory.metadata)
		}
	}
	w.nodes[0].memory.fail = func() error { return errDisk }
	if err := w.writer.Append(context.Background(), b); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// Everything that a large batch needs more than one body for.
func TestLargeBatch(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{PeerTimeout: time.Hour})
	b := &series.Batch{}
	const count = pieceSamples + 5
	for i := range 3 {
		b.Series = append(b.Series, series.Entry{Key: series.AppendLabel(nil, "__name__", fmt.Sprint("m", i)), First: i * count, Count: count})
	}
	for j := range 3 * count {
		b.Samples = append(b.Samples, series.Sample{T: int64(j) << 38, V: float64(j)})
	}
	for _, node := range w.nodes[1:] {
		node.memory.reject = func(key string) string {
			if strings.HasSuffix(key, "m1") {
				return "max_series"
			}
			return ""
		}
	}
	if err := w.writer.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if b.Rejected.Samples != count || b.Rejected.Reasons["max_series"] != count || !b.Series[1].Bad {
		t.Errorf("rejected %+v", b.Rejected)
	}
	w.settle()
	for i, node := range w.nodes[1:] {
		for s, e := range b.Series {
			if got := len(node.memory.samples[string(e.Key)]); got != count && s != 1 || got != 0 && s == 1 {
				t.Errorf("node %d has %d samples of series %d", i+1, got, s)
			}
		}
	}
}
