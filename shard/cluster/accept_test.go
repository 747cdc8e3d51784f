package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

type codedError int

func (codedError) Error() string     { return "too large" }
func (e codedError) StatusCode() int { return int(e) }

func TestAccept(t *testing.T) {
	stale := "0000000000000001"
	rows := []struct {
		name   string
		method string // "" is POST
		epoch  string // "" is the node's own
		decode error
		local  error
		code   int
	}{
		{name: "stored", code: 200},
		{name: "another method", method: "GET", code: 405},
		{name: "malformed", decode: errors.New("malformed"), code: 400},
		{name: "too large", decode: codedError(413), code: 413},
		{name: "another ring", epoch: stale, code: 409},
		{name: "no ring", epoch: "x", code: 409},
		{name: "disk full", local: errDisk, code: 503},
		{name: "too much", local: fmt.Errorf("append: %w", series.ErrOverload), code: 503},
		{name: "gave up", local: context.DeadlineExceeded, code: 503},
		{name: "broken", local: errors.New("broken"), code: 500},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWriteWorld(t, 3, 1, WriterOptions{})
			node := w.nodes[1]
			node.memory.fail = func() error { return row.local }
			released := false
			h := NewAcceptHandler(&node.memory, func(*http.Request) (*series.Batch, func(), error) {
				return simple(100), func() { released = true }, row.decode
			}, node, AcceptOptions{})
			r := httptest.NewRequest(http.MethodPost, writePath, nil)
			if row.method != "" {
				r.Method = row.method
			}
			if row.epoch == "" {
				row.epoch = fmt.Sprintf("%016x", node.epoch())
			}
			r.Header.Set("X-Minitrue-Epoch", row.epoch)
			rw := httptest.NewRecorder()
			h.ServeHTTP(rw, r)
			if rw.Code != row.code || (rw.Header().Get("Retry-After") != "") != (row.code == 503) {
				t.Errorf("code %d, want %d, Retry-After %q: %s", rw.Code, row.code, rw.Header().Get("Retry-After"), rw.Body)
			}
			if row.code == 200 && strings.TrimSpace(rw.Body.String()) != `{"series":100,"briefs":true}` {
				t.Errorf("answer %s", rw.Body)
			}
			if want := row.decode == nil && row.method == ""; released != want {
				t.Errorf("released %v", released)
			}
		})
	}
}

// The sender knows another ring, and what it sends is for this node all the same.
func TestAcceptAnotherRing(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{})
	h := NewAcceptHandler(&w.nodes[1].memory, func(*http.Request) (*series.Batch, func(), error) {
		return simple(5), func() {}, nil
	}, w.nodes[1], AcceptOptions{})
	rw := httptest.NewRecorder()
	h.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, writePath, nil))
	if rw.Code != 200 {
		t.Errorf("code %d: %s", rw.Code, rw.Body)
	}
	v := *w.nodes[1].View()
	v.Self = -1
	w.nodes[1].p.Store(&v)
	rw = httptest.NewRecorder()
	h.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, writePath, nil))
	if rw.Code != 409 {
		t.Errorf("a node that is in no cluster answers %d", rw.Code)
	}
}

// Each rejected series is named with its own reason, though a batch only counts them.
func TestAcceptRejected(t *testing.T) {
	b := simple(3)
	b.Series[0].Key = series.AppendLabel(nil, "no_name", "x")
	w := newWriteWorld(t, 1, 1, WriterOptions{})
	memory := &w.nodes[0].memory
	memory.reject = func(key string) string {
		if key == string(b.Series[2].Key) {
			return "max_series"
		}
		return ""
	}
	h := NewAcceptHandler(memory, func(*http.Request) (*series.Batch, func(), error) { return b, func() {}, nil }, w.nodes[0], AcceptOptions{})
	rw := httptest.NewRecorder()
	h.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, writePath, nil))
	const want = `{"series":3,"rejected":[{"series":0,"reason":"metric_name_missing","detail":"the series has no metric name: add the label __name__"},{"series":2,"reason":"max_series","detail":"max_series"}],"briefs":true}`
	if got := strings.TrimSpace(rw.Body.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// leavesOut are deletes that are later than everything.
type leavesOut Deleted

func (f leavesOut) Await(context.Context, uint64) error { return nil }

func (f leavesOut) Live(context.Context, int64, func() error) (bool, error) { return false, nil }

func (f leavesOut) Deleted(ctx context.Context, b *series.Batch, written int64, store func() error) error {
	return f(ctx, b, written, store)
}

// A hint says when it was written, and what was deleted since does not come back.
func TestAcceptDeleted(t *testing.T) {
	w := newWriteWorld(t, 1, 1, WriterOptions{})
	var at []int64
	h := NewAcceptHandler(&w.nodes[0].memory, decodeProto, w.nodes[0], AcceptOptions{Deletes: leavesOut(func(_ context.Context, b *series.Batch, written int64, store func() error) error {
		at = append(at, written)
		b.Series[0].Bad = true
		return store()
	})})
	body := divide(t, &split{}, simple(2), newRoutes(mustRing(t, 1, 1)), 1)[0][0].body.b
	for _, row := range []struct {
		written string
		code    int
	}{{strconv.Itoa(42), 200}, {"soon", 400}} {
		r := httptest.NewRequest(http.MethodPost, writePath, bytes.NewReader(body))
		r.Header.Set(headerWritten, row.written)
		rw := httptest.NewRecorder()
		h.ServeHTTP(rw, r)
		if rw.Code != row.code {
			t.Errorf("%s: code %d", row.written, rw.Code)
		}
	}
	if len(at) != 1 || at[0] != 42 || len(w.nodes[0].memory.samples) != 1 {
		t.Errorf("deletes after %v, %d series are stored", at, len(w.nodes[0].memory.samples))
	}
}

// A peer's answer is not believed when it makes no sense.
func TestAnswerCheck(t *testing.T) {
	rows := []struct {
		name string
		a    writeAnswer
		good bool
	}{
		{"nothing rejected", writeAnswer{Series: 3}, true},
		{"one rejected", writeAnswer{Series: 3, Rejected: []rejectedSeries{{Series: 2, Reason: "x"}}}, true},
		{"another number", writeAnswer{Series: 2, Rejected: []rejectedSeries{{Series: 1, Reason: "x"}}}, false},
		{"behind the last", writeAnswer{Series: 3, Rejected: []rejectedSeries{{Series: 3, Reason: "x"}}}, false},
		{"before the first", writeAnswer{Series: 3, Rejected: []rejectedSeries{{Series: -1, Reason: "x"}}}, false},
		{"no reason", writeAnswer{Series: 3, Rejected: []rejectedSeries{{Series: 1}}}, false},
	}
	for _, r := range rows {
		if err := r.a.check(3); (err == nil) != r.good {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

func TestConsistency(t *testing.T) {
	rows := []struct {
		name string
		acks [5]int // of 1 to 5 owners
	}{
		{"one", [5]int{1, 1, 1, 1, 1}},
		{"quorum", [5]int{1, 2, 2, 3, 3}},
		{"all", [5]int{1, 2, 3, 4, 5}},
	}
	for _, r := range rows {
		c, err := ParseConsistency(r.name)
		if err != nil || c.String() != r.name {
			t.Errorf("%s: %v, %v", r.name, c, err)
		}
		for i, want := range r.acks {
			if got := c.Acks(i + 1); got != want {
				t.Errorf("%s of %d: %d, want %d", r.name, i+1, got, want)
			}
		}
		if c.Acks(0) < 1 {
			t.Errorf("%s: nobody is enough of nobody", r.name)
		}
	}
	if _, err := ParseConsistency("most"); err == nil {
		t.Error("a consistency of another name")
	}
}

func TestNodes(t *testing.T) {
	a, b := nodesOf([]uint8{0, 63, 64, 255}), nodesOf([]uint8{64, 200, 255})
	if a.common(&b) != 2 || a.common(&a) != 4 || !a.has(63) || a.has(62) {
		t.Errorf("common %d, %d", a.common(&b), a.common(&a))
	}
	if m := a.minus(&b); m != nodesOf([]uint8{0, 63}) {
		t.Errorf("minus %v", m)
	}
	var _ [shard.MaxNodes / 64]uint64 = a
}
