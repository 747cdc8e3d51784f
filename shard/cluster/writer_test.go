package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

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
	for _, late := range []bool{false, true} { // the news are there before the refusal, or come after it
		t.Run(fmt.Sprint("late=", late), func(t *testing.T) { ringChanges(t, late) })
	}
}

func ringChanges(t *testing.T, late bool) {
	w := newWriteWorld(t, 4, 1, WriterOptions{})
	active := []shard.State{shard.Active, shard.Active, shard.Active, shard.Active}
	old := []shard.State{shard.Active, shard.Active, shard.Active, shard.Joining}
	w.ring(t, 1, active, nil)
	behind := w.view(t, 0, 1, old, nil)
	// The others know the new ring, this node learns of it when it is refused. Nodes 1 and 2 refuse what is now the fourth's alone.
	w.nodes[0].p.Store(withoutChange(t, behind))
	var told sync.Once
	for _, node := range w.nodes[1:] {
		node.before = func(http.ResponseWriter, *http.Request) bool {
			told.Do(func() {
				if late {
					time.AfterFunc(20*time.Millisecond, func() { w.nodes[0].p.Store(w.view(t, 0, 1, active, nil)) })
				} else {
					w.nodes[0].p.Store(w.view(t, 0, 1, active, nil))
				}
			})
			return false
		}
	}
	b := simple(300)
	if err := w.writer.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	w.settle()
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

// A batch that needs more than one body for each node, of which two series are one piece each and one is several.
func TestLargeBatch(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{PeerTimeout: time.Hour})
	counts := []int{3, pieceSamples + 5, 2*pieceSamples + 5}
	b := &series.Batch{}
	for i, n := range counts {
		b.Series = append(b.Series, series.Entry{Key: series.AppendLabel(nil, "__name__", fmt.Sprint("m", i)), First: len(b.Samples), Count: n})
		for j := range n {
			b.Samples = append(b.Samples, series.Sample{T: int64(j) << 38, V: float64(j)})
		}
	}
	for _, node := range w.nodes {
		node.memory.tally = map[string]int{}
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
	if b.Rejected.Samples != counts[1] || b.Rejected.Reasons["max_series"] != counts[1] || !b.Series[1].Bad {
		t.Errorf("rejected %+v", b.Rejected)
	}
	w.settle()
	for i, node := range w.nodes {
		for s, e := range b.Series {
			want := counts[s]
			if i > 0 && s == 1 {
				want = 0
			}
			if got := node.memory.tally[string(e.Key)]; got != want {
				t.Errorf("node %d has %d samples of series %d, want %d", i, got, s, want)
			}
		}
	}
}

// A histogram that no node stores, since no block takes it, is not acknowledged as if one did; the others of the batch are stored.
func TestLargeHistogramIsRejected(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{Consistency: All})
	b := simple(2)
	for at, buckets := range []int{70_000, 3} {
		h := &histogram.FloatHistogram{PositiveSpans: []histogram.Span{{Length: uint32(buckets)}}, PositiveBuckets: make([]float64, buckets)}
		b.Histograms = append(b.Histograms, series.Histogram{Series: 1, T: int64(at), Float: h})
	}
	if err := w.writer.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if b.Rejected.Histograms != 1 || b.Rejected.Reasons["histogram_size"] != 1 {
		t.Errorf("rejected %+v", b.Rejected)
	}
	for i, n := range w.nodes {
		if got := n.memory.count(); got != 3 {
			t.Errorf("node %d has %d samples, want 3", i, got)
		}
	}
}
