package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/hint"
)

// until waits for something that happens elsewhere.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}

// runHints runs until the test is over.
func runHints(t *testing.T, w *Writer) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.RunHints(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

var threeActive = []shard.State{shard.Active, shard.Active, shard.Active}

// A node is away, on real disks, and gets what it missed when it is back.
func TestHintsReplayed(t *testing.T) {
	kept, err := hint.Open(t.TempDir(), hint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	w := newWriteWorld(t, 3, 3, WriterOptions{HintEvery: time.Millisecond})
	w.writer.hints = kept
	w.ring(t, 3, threeActive, []int{2})
	b := simple(40)
	for range 3 {
		if err := w.writer.Append(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	w.settle()
	runHints(t, w.writer)
	if kept.Pending("n2") == 0 || len(w.nodes[2].memory.samples) > 0 {
		t.Error("nothing is kept, or it is not down")
	}
	w.ring(t, 3, threeActive, nil)
	until(t, "the hints are replayed", func() bool { return kept.Pending("n2") == 0 })
	if got := len(w.nodes[2].memory.samples); got != 40 {
		t.Errorf("it has %d series", got)
	}
	l := w.writer.lane(w.nodes[0].View().Members[2])
	until(t, "they are counted", func() bool { return testutil.ToFloat64(l.replayed) == 3 })
	if testutil.ToFloat64(l.hinted) != 3 {
		t.Errorf("%v were kept", testutil.ToFloat64(l.hinted))
	}
}

func TestHintsOfNodesThatLeft(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{HintEvery: time.Millisecond})
	if err := w.hints.Append("gone", hint.Hint{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	v := *w.nodes[0].View()
	v.Self = -1 // who is in no cluster knows nothing of who has left it
	w.nodes[0].p.Store(&v)
	if _, known := w.writer.member("gone"); !known {
		t.Error("a node that is in no cluster knows who has left")
	}
	w.ring(t, 3, threeActive, nil)
	runHints(t, w.writer)
	until(t, "they are dropped", func() bool { return len(w.hints.Peers()) == 0 })
}

// What a node missed belongs to others by the time it is back: those get it, but for what was deleted.
func TestHintsOfPartitionsThatMoved(t *testing.T) {
	for _, same := range []bool{false, true} {
		t.Run(fmt.Sprintf("both know one ring %t", same), func(t *testing.T) { testHintsThatMoved(t, same) })
	}
}

func testHintsThatMoved(t *testing.T, same bool) {
	var deletedAfter int64
	w := newWriteWorld(t, 3, 1, WriterOptions{Decode: decodeProto, Deleted: func(_ context.Context, b *series.Batch, written int64, store func() error) error {
		deletedAfter = written
		b.Series[0].Bad = true // all of it was deleted
		return store()
	}})
	b := simple(60)
	s := &split{}
	body := divide(t, s, b, w.writer.routesOf(mustRing(t, 1, 1)), 1)[0][0].body
	// Node 2 shall have all 60 series, of which by the ring of the others it has some alone.
	if !same {
		w.nodes[2].p.Store(w.view(t, 2, 1, []shard.State{shard.Active, shard.Leaving, shard.Active}, nil))
	}
	if err := w.writer.resend(context.Background(), "n2", hint.Hint{Time: 42, Body: body.b}); err != nil {
		t.Fatal(err)
	}
	if deletedAfter != 42 {
		t.Errorf("deletes after %d are honoured", deletedAfter)
	}
	for i, e := range b.Series {
		n := w.nodes[0].View().Ring.Writers(shard.PartitionOfKey(e.Key, "device_id"))[0]
		if got := len(w.nodes[n].memory.samples[string(e.Key)]); got != min(i, 1) {
			t.Fatalf("node %d has %d samples of series %d", n, got, i)
		}
	}
	w.writer.o.Decode = nil
	if err := w.writer.resend(context.Background(), "n2", hint.Hint{Body: body.b}); !isMoved(err) {
		t.Errorf("without a decoder: %v", err)
	}
}

func TestResend(t *testing.T) {
	rows := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		kept   bool
		lost   float64
	}{
		{"stored", nil, false, 0},
		{"busy", refuse(503), true, 0},
		{"no entry", refuse(401), true, 0},
		{"cannot be read", refuse(400), false, 1},
		{"too large", refuse(413), false, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWriteWorld(t, 2, 2, WriterOptions{})
			w.nodes[1].before = row.answer
			body := divide(t, &split{}, simple(3), w.writer.routesOf(w.nodes[0].View().Ring), 2)[1][0].body
			err := w.writer.resend(context.Background(), "n1", hint.Hint{Body: body.b})
			if (err != nil) != row.kept {
				t.Errorf("error %v", err)
			}
			if got := testutil.ToFloat64(w.writer.lane(w.nodes[0].View().Members[1]).lost); got != row.lost {
				t.Errorf("%v are counted as dropped", got)
			}
		})
	}
}

// What is sent on for others carries the time at which it was written, as hints do, and so does what is kept of it once more: a delete that this
// node has not heard of yet must not be undone.
func TestMovedHintsKeepTheirTime(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{Decode: decodeProto, Now: func() time.Time { return time.UnixMilli(1000) }})
	b := simple(20)
	body := divide(t, &split{}, b, w.writer.routesOf(mustRing(t, 1, 1)), 1)[0][0].body
	w.ring(t, 3, threeActive, []int{1})
	var mu sync.Mutex // guards times
	var times []string
	w.nodes[2].before = func(rw http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, cmp.Or(r.Header.Get(headerWritten), r.Header.Get(headerOldest)))
		return len(times) == 1 && refuse(http.StatusConflict)(rw, r) // the hint itself
	}
	heard := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(times)
	}
	if err := w.writer.resend(context.Background(), "n2", hint.Hint{Time: 42, Body: body.b}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if got := heard(); !slices.Equal(got, []string{"42", "42"}) {
		t.Errorf("the hint and what is sent on of it were written at %q", got)
	}
	again := w.hints.of("n1")
	if len(again) == 0 || slices.ContainsFunc(again, func(h hint.Hint) bool { return h.Time != 42 }) {
		t.Errorf("%d are kept for the node that is down, the first %+v", len(again), again[:min(1, len(again))])
	}
	if err := w.writer.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if got := heard(); len(got) != 3 || got[2] != "1000" {
		t.Errorf("an ordinary write was written at %q", got)
	}
}

// A hint is of the moment at which its write came, not of that at which the node was found to have missed it: a delete may lie between the two.
func TestHintsAreAsOldAsTheWrite(t *testing.T) {
	var now atomic.Int64
	now.Store(1)
	w := newWriteWorld(t, 3, 3, WriterOptions{Now: func() time.Time { return time.UnixMilli(now.Load()) }})
	held := make(chan struct{})
	w.nodes[2].before = func(rw http.ResponseWriter, r *http.Request) bool {
		<-held
		return refuse(http.StatusServiceUnavailable)(rw, r)
	}
	if err := w.writer.Append(context.Background(), simple(3)); err != nil { // two of three have it
		t.Fatal(err)
	}
	now.Store(5)
	close(held)
	w.settle()
	if list := w.hints.of("n2"); len(list) != 1 || list[0].Time != 1 {
		t.Errorf("a write of 1 that was missed at 5 is kept as %+v", list)
	}
}
