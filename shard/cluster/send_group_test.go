package cluster

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// bodyOf is the body of a batch for the second node.
func (w *writeWorld) bodyOf(t *testing.T, b *series.Batch) *body {
	t.Helper()
	rs := newRoutes(w.nodes[0].View().Ring)
	s := &split{}
	s.place(b, rs, "device_id", series.Limits{})
	if err := s.encode(b, rs, nobodyKnows); err != nil {
		t.Fatal(err)
	}
	s.address(2, 0)
	byNode, _ := s.pack()
	if len(byNode[1]) != 1 {
		t.Fatalf("%d bodies", len(byNode[1]))
	}
	return byNode[1][0].body
}

// Bodies that go together are stored as if each had gone alone, and each is told what of its own is not stored.
func TestBodiesTogether(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{})
	w.nodes[1].memory.reject = func(key string) string {
		if strings.Contains(key, "bad") {
			return "why not"
		}
		return ""
	}
	m := w.nodes[0].View().Members[1]
	var ts []*ticket
	var all []*series.Batch
	for i := range 5 {
		b := simple(10 + i)
		for k := range b.Series {
			name := fmt.Sprintf("series_%d_%d", i, k)
			if k%(3+i) == 1 {
				name += "_bad"
			}
			b.Series[k].Key = series.AppendLabel(nil, "__name__", name)
		}
		all = append(all, b)
		ts = append(ts, &ticket{m: m, body: w.bodyOf(t, b), until: time.Now().Add(time.Minute), done: make(chan struct{})})
	}
	w.writer.lane(m).send(ts)
	for i, b := range all {
		if ts[i].err != nil {
			t.Fatal(ts[i].err)
		}
		var bad []int
		for _, r := range ts[i].rejected {
			bad = append(bad, r.Series)
		}
		// All are of one route, so that the order in the body is that of the batch.
		for k := range b.Series {
			key := string(b.Series[k].Key)
			if is := strings.Contains(key, "bad"); is != slices.Contains(bad, k) || is == w.nodes[1].memory.has(key, contents(b, k)) {
				t.Errorf("body %d: %q: rejected are %v", i, key, bad)
			}
		}
	}
}

// Those who come while a request is under way go together; each is answered, and none waits for a request that is held up.
func TestWritesGoTogether(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{Consistency: All})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			b := simple(3)
			for k := range b.Series {
				b.Series[k].Key = series.AppendLabel(nil, "__name__", fmt.Sprintf("series_%d_%d", i, k))
			}
			if err := w.writer.Append(t.Context(), b); err != nil {
				t.Error(err)
			}
			for k := range b.Series {
				if key := string(b.Series[k].Key); !w.nodes[1].memory.has(key, contents(b, k)) {
					t.Errorf("%q is acknowledged and not there", key)
				}
			}
		})
	}
	wg.Wait()
	w.settle()
	w.nodes[1].memory.mu.Lock()
	defer w.nodes[1].memory.mu.Unlock()
	if n := w.nodes[1].memory.appends; n < 1 || n > 200 {
		t.Errorf("%d requests", n)
	}
	g := w.writer.lane(w.nodes[0].View().Members[1]).group
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) > 0 || g.amount != 0 || g.running != 0 {
		t.Errorf("%d wait with %d bytes, %d requests are under way", len(g.waiting), g.amount, g.running)
	}
}

// Those who go together are as old as the oldest of them, and one who goes alone says that nobody else is with him.
func TestOldestOfThoseTogether(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{})
	m := w.nodes[0].View().Members[1]
	var got []string
	w.nodes[1].before = func(_ http.ResponseWriter, r *http.Request) bool {
		got = append(got, r.Header.Get(headerOldest), r.Header.Get(headerWritten))
		return false
	}
	for _, times := range [][]int64{{7, 3, 5}, {4}} {
		var ts []*ticket
		for _, at := range times {
			ts = append(ts, &ticket{m: m, body: w.bodyOf(t, simple(3)), written: origin{at: at}, until: time.Now().Add(time.Minute), done: make(chan struct{})})
		}
		w.writer.lane(m).send(ts)
		if ts[0].err != nil {
			t.Fatal(ts[0].err)
		}
	}
	if want := []string{"3", "", "", "4"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
