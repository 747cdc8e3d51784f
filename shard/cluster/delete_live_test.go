package cluster

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// hear makes a node hear of a delete of all of m and apply it.
func (n *writeNode) hear(t *testing.T, key string, at int64) {
	t.Helper()
	n.records.mu.Lock()
	n.records.records["delete/"+key] = []byte(`{"time":` + strconv.FormatInt(at, 10) + `,"mint":0,"maxt":` + strconv.FormatInt(math.MaxInt64, 10) + `,"matchers":[{"type":"=","name":"__name__","value":"m"}]}`)
	n.records.mu.Unlock()
	if _, err := n.deleter.apply(context.Background()); err != nil {
		t.Error(err)
	}
}

// count is how many samples a node has.
func (m *memory) count() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, all := range m.samples {
		n += len(all)
	}
	return n
}

// A write that is being stored is stored before a delete that comes meanwhile, and one from before the delete is not stored behind it; what is younger does
// not wait.
func TestDeleteWaitsForWrites(t *testing.T) {
	s := &slate{deleted: make(chan struct{}, 10)}
	records := &book{view: &shard.View{Self: 0, Members: make([]shard.Member, 2)}, records: map[string][]byte{}}
	d := NewDeleter(s, records, peer.NewClient(peer.ClientOptions{}), DeleterOptions{})
	ended := make(chan error, 1)
	done, err := d.Live(t.Context(), 50, func() error {
		if err := records.Put(map[string][]byte{"delete/1": deleteOfM(100)}); err != nil {
			return err
		}
		go func() {
			_, err := d.apply(t.Context())
			ended <- err
		}()
		until(t, "the delete is about to be applied", func() bool { return d.Newest() == 100 })
		select {
		case <-s.deleted:
			return errors.New("the delete is applied while a write is being stored")
		case <-time.After(50 * time.Millisecond):
		}
		s.store(hintOf())
		return nil
	})
	if err != nil || !done {
		t.Error(done, err)
	}
	if err := <-ended; err != nil || s.samples != 0 {
		t.Errorf("%d samples are there: %v", s.samples, err)
	}
	for written, want := range map[int64]bool{50: false, 100: false, 101: true} {
		called := false
		if done, err := d.Live(t.Context(), written, func() error { called = true; return nil }); err != nil || done != want || called != want {
			t.Errorf("a write of %d after the delete of 100: %v %v", written, done, err)
		}
	}
}

// Live writes say how old the oldest of them is. None is stored behind a later delete, and of one that goes with others nothing is left out: a younger one would
// be acknowledged and not be there.
func TestAcceptOvertaken(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{})
	node := w.nodes[1]
	node.hear(t, "1", 100)
	body := divide(t, &split{}, simple(2), newRoutes(mustRing(t, 1, 1)), 1)[0][0].body.b
	h := NewAcceptHandler(&node.memory, decodeProto, node, AcceptOptions{Deletes: node.deleter})
	for _, row := range []struct {
		name, header, written string
		code, stored          int
	}{
		{"several, one older", headerOldest, "100", 412, 0},
		{"several, all younger", headerOldest, "101", 200, 1},
		{"one, older", headerWritten, "100", 200, 0},
		{"one, younger", headerWritten, "101", 200, 1},
		{"of an older version", "", "", 200, 1},
		{"no time", headerOldest, "soon", 400, 0},
	} {
		node.memory.samples = nil
		r := httptest.NewRequest(http.MethodPost, writePath, bytes.NewReader(body))
		r.Header.Set("X-Minitrue-Epoch", strconv.FormatUint(node.epoch(), 16))
		if row.header != "" {
			r.Header.Set(row.header, row.written)
		}
		rw := httptest.NewRecorder()
		h.ServeHTTP(rw, r)
		if n := node.memory.count(); rw.Code != row.code || min(n, 1) != row.stored {
			t.Errorf("%s: code %d, %d samples are stored: %s", row.name, rw.Code, n, rw.Body)
		}
	}
}

// A write is on its way to a node when something is deleted there: what of it was deleted stays away, by whatever way it comes.
func TestDeleteOvertakesWrites(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{Consistency: All})
	for round := range 2 { // in the second by their ids
		b := simple(5)
		b.Series[0].Key = series.AppendLabel(nil, "__name__", "other")
		came := 0
		w.nodes[2].before = func(http.ResponseWriter, *http.Request) bool {
			if came++; came == 1 {
				w.nodes[2].hear(t, strconv.Itoa(round), time.Now().UnixMilli())
			}
			return false
		}
		if err := w.writer.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w.settle()
		for i, node := range w.nodes {
			others, all := len(node.memory.samples[string(b.Series[0].Key)]), node.memory.count()
			if others == 0 || i < 2 && all == others || i == 2 && all > others {
				t.Errorf("round %d: node %d has %d samples, of which %d were not deleted; %d requests came", round, i, all, others, came)
			}
		}
		if round == 1 && came != 2 {
			t.Errorf("%d requests came", came)
		}
	}
}

// Whoever knows of a delete writes behind it, and deletes behind what was written, whatever his clock says.
func TestDeletesAndClocks(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{Consistency: All, Now: func() time.Time { return time.UnixMilli(10) }})
	w.writer.o.Newest = w.nodes[0].deleter.Newest
	for _, node := range w.nodes {
		node.hear(t, "1", 1000)
	}
	if err := w.writer.Append(t.Context(), simple(5)); err != nil {
		t.Fatal(err)
	}
	w.settle()
	for i, node := range w.nodes {
		if node.memory.count() == 0 {
			t.Errorf("node %d has left out what was written after the delete", i)
		}
	}
	d := NewDeleter(&slate{deleted: make(chan struct{}, 10)}, &book{view: &shard.View{Self: 0, Members: make([]shard.Member, 2)}, records: map[string][]byte{"delete/1": deleteOfM(1000)}}, nil,
		DeleterOptions{Now: func() time.Time { return time.UnixMilli(10) }})
	if err := d.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Delete(t.Context(), 0, 10, deletions(t, deleteOfM(0)).ms...); err != nil {
		t.Fatal(err)
	}
	if d.Newest() != 1001 {
		t.Errorf("a delete after that of 1000 is of %d", d.Newest())
	}
}

func deletions(t *testing.T, value []byte) deletion {
	t.Helper()
	x, err := parseDeletion("delete/x", value)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A node whose clock is an hour ahead has taken a write that another one missed. Who deletes it later has a clock that is right, and it does not come back.
func TestDeleteOfWritesFromTheFuture(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{HintEvery: time.Millisecond, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	w.writer.o.Newest, w.writer.o.Live = w.nodes[0].deleter.Newest, w.nodes[0].deleter.Live
	w.ring(t, 3, threeActive, []int{2})
	if err := w.writer.Append(t.Context(), simple(5)); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.ring(t, 3, threeActive, nil)
	if _, err := w.nodes[1].deleter.Delete(t.Context(), 0, math.MaxInt64, deletions(t, deleteOfM(0)).ms...); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*writeNode{w.nodes[0], w.nodes[2]} {
		if err := errors.Join(n.records.Put(w.nodes[1].records.Others()), n.deleter.Apply(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	runHints(t, w.writer)
	until(t, "the hints are replayed", func() bool { return len(w.hints.of("n2")) == 0 })
	for i, n := range w.nodes {
		if n := n.memory.count(); n > 0 {
			t.Errorf("%d of the samples that were deleted are on node %d", n, i)
		}
	}
}
