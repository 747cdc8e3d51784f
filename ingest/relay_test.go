package ingest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// town is a cluster of taps in this process.
type town struct {
	mu      sync.Mutex // guards members and change
	members []shard.Member
	change  chan struct{}
}

// house is one node of it.
type house struct {
	town  *town
	id    string
	tap   *Tap
	front string // address of /ws
	peer  *httptest.Server
	stop  func() // SIGTERM
}

func (w *town) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.change
}

// View implements Members; the nodes of a town differ in Self.
func (h *house) View() *shard.View {
	h.town.mu.Lock()
	defer h.town.mu.Unlock()
	v := &shard.View{Self: -1, Members: slices.Clone(h.town.members)}
	for i, m := range v.Members {
		if m.ID == h.id {
			v.Self = i
		}
	}
	return v
}

func (h *house) Changed() <-chan struct{} { return h.town.Changed() }

// set makes members what f makes of them.
func (w *town) set(f func(ms []shard.Member) []shard.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members = f(slices.Clone(w.members))
	close(w.change)
	w.change = make(chan struct{})
}

var clusterSecret = []byte("what all nodes of the town share")

// newTown starts so many nodes.
func newTown(t *testing.T, size int, o TapOptions) (hs []*house) {
	t.Helper()
	w := &town{change: make(chan struct{})}
	for i := range size {
		h := &house{town: w, id: fmt.Sprintf("id-%d", i+1)}
		w.members = append(w.members, shard.Member{Node: shard.Node{ID: h.id}, Name: fmt.Sprintf("n%d", i+1)})
		hs = append(hs, h)
	}
	for _, h := range hs {
		h.start(t, o)
	}
	return hs
}

// start starts a node, at a new address, and says so.
func (h *house) start(t *testing.T, o TapOptions) {
	t.Helper()
	client := peer.NewClient(peer.ClientOptions{Self: h.id, Secret: clusterSecret})
	o.Members, o.Peers = h, client
	tap, front, stop := startTap(t, o)
	door := peer.NewServer(peer.ServerOptions{Secret: clusterSecret})
	tap.Register(door)
	h.tap, h.front, h.peer = tap, front, httptest.NewServer(door)
	server := h.peer
	h.stop = sync.OnceFunc(func() {
		stop()
		tap.Drain(context.Background())
		server.Close()
		client.Close()
	})
	t.Cleanup(h.stop)
	h.town.set(func(ms []shard.Member) []shard.Member {
		for i := range ms {
			if ms[i].ID == h.id {
				ms[i].Up, ms[i].Peer = true, strings.TrimPrefix(h.peer.URL, "http://")
			}
		}
		return ms
	})
}

// accept offers samples of a series, as a pipeline does that has accepted them.
func (h *house) accept(device string, at ...int64) {
	var b series.Batch
	add(&b, key("__name__", "temp", "device_id", device), at...)
	h.tap.offer(&b)
}

// heard reads messages until there are so many samples, as device@time, and sorts them.
func heard(t *testing.T, c *websocket.Conn, samples int) (got []string) {
	t.Helper()
	for len(got) < samples {
		if m := hear(t, c); m["device_id"] != nil {
			got = append(got, fmt.Sprintf("%v@%v", m["device_id"], m["timestamp"]))
		}
	}
	slices.Sort(got)
	return got
}

// untilMissing reads messages until the reader is told that these nodes are not heard.
func untilMissing(t *testing.T, c *websocket.Conn, names string) {
	t.Helper()
	for {
		if all, ok := hear(t, c)["missing"]; ok && fmt.Sprint(all) == names {
			return
		}
	}
}

// A reader at any node gets what each node accepts, once; what no reader wants is not sent, and nothing is when there are none.
func TestTapHearsTheCluster(t *testing.T) {
	hs := newTown(t, 3, TapOptions{})
	all := listen(t, hs[0].tap, hs[0].front, "")
	some := listen(t, hs[2].tap, hs[2].front, url.Values{"match[]": {`{device_id="d1"}`, `{device_id="d2"}`}}.Encode())
	for i, h := range hs { // no waiting: whoever is connected misses nothing
		h.accept(fmt.Sprintf("d%d", i+1), 1, 2)
		h.accept("other", int64(i))
	}
	if got, want := heard(t, all, 9), []string{"d1@1", "d1@2", "d2@1", "d2@2", "d3@1", "d3@2", "other@0", "other@1", "other@2"}; !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got, want := heard(t, some, 4), []string{"d1@1", "d1@2", "d2@1", "d2@2"}; !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for i, want := range []float64{2, 3 + 2, 3} { // to the first reader 3 each, to the second what it asked for
		poll(t, func() bool { return testutil.ToFloat64(hs[i].tap.relayed) >= want }) // it is counted after it is sent
		if got := testutil.ToFloat64(hs[i].tap.relayed); got != want {
			t.Errorf("node %d sent %v samples to others, want %v", i+1, got, want)
		}
	}
	_, _ = all.CloseNow(), some.CloseNow()
	for _, h := range hs {
		poll(t, func() bool { return len(h.tap.current()) == 0 })
	}
}

// A node that is away is told to the reader, and heard again when it is back, at another address or the same; so is one that joins.
func TestTapFollowsMembers(t *testing.T) {
	hs := newTown(t, 3, TapOptions{})
	c := listen(t, hs[0].tap, hs[0].front, "")
	hs[1].accept("d", make([]int64, 3000)...)
	hs[1].stop()                                                          // what it accepted before it went arrives
	for samples, missing := 0, ""; samples < 3000 || missing != "[n2]"; { // in any order
		m := hear(t, c)
		if m["device_id"] != nil {
			samples++
		} else if m["missing"] != nil {
			missing = fmt.Sprint(m["missing"])
		} else {
			t.Fatalf("got %v", m)
		}
	}
	hs[1].start(t, TapOptions{})
	untilMissing(t, c, "[]")
	hs[1].accept("d", 2)
	if got := heard(t, c, 1); got[0] != "d@2" {
		t.Errorf("got %v", got)
	}

	hs[0].town.set(func(ms []shard.Member) []shard.Member { return ms[:2] })
	poll(t, func() bool { return len(hs[2].tap.current()) == 0 })
	hs[2].accept("d", 3)
	fourth := &house{town: hs[0].town, id: "id-4"}
	fourth.town.set(func(ms []shard.Member) []shard.Member {
		return append(ms, shard.Member{Node: shard.Node{ID: "id-4"}, Name: "n4"})
	})
	untilMissing(t, c, "[n4]")
	fourth.start(t, TapOptions{})
	untilMissing(t, c, "[]")
	fourth.accept("d", 4)
	if got := heard(t, c, 1); got[0] != "d@4" {
		t.Errorf("got %v", got)
	}
}

// A node that cannot be reached, or does not know of taps, holds a reader up for a moment at most, and the others are heard.
func TestTapDoesWithoutANode(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	for name, address := range map[string]string{"nobody listens": "127.0.0.1:1", "it hangs": strings.TrimPrefix(hang.URL, "http://")} {
		hs := newTown(t, 2, TapOptions{PeerWait: 50 * time.Millisecond}) // the other node is never silent for as long as three beats
		hs[0].town.set(func(ms []shard.Member) []shard.Member {
			return append(ms, shard.Member{Node: shard.Node{ID: "x"}, Name: "n3", Peer: address, Up: true})
		})
		c := listen(t, hs[0].tap, hs[0].front, "")
		untilMissing(t, c, "[n3]")
		hs[1].accept("d", 1)
		if got := heard(t, c, 1); got[0] != "d@1" {
			t.Errorf("%s: got %v", name, got)
		}
		_ = c.CloseNow()
		poll(t, func() bool { return len(hs[0].tap.current()) == 0 })
	}
}

// A node that sends nonsense, or too much at once, is not believed; one that falls silent is asked again.
func TestTapDoubtsANode(t *testing.T) {
	good := (&tapFrame{}).take(0)
	rows := map[string]func(w *peer.FrameWriter){
		"short":    func(w *peer.FrameWriter) { _ = w.Write([]byte{1}) },
		"no key":   func(w *peer.FrameWriter) { _ = w.Write(append(slices.Clone(good), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)) },
		"long key": func(w *peer.FrameWriter) { _ = w.Write(append(slices.Clone(good), 0xff, 0xff, 0x7f)) },
		"too much": func(w *peer.FrameWriter) { _ = w.Write(make([]byte, frameMost+1)) },
		"silent":   func(*peer.FrameWriter) {},
	}
	for name, say := range rows {
		hs := newTown(t, 1, TapOptions{Beat: 20 * time.Millisecond})
		asked := make(chan struct{}, 100)
		door := peer.NewServer(peer.ServerOptions{Secret: clusterSecret})
		door.Handle(pathTap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			frames := peer.NewFrameWriter(w)
			_ = frames.Write(good)
			say(frames)
			_ = http.NewResponseController(w).Flush()
			asked <- struct{}{}
			<-r.Context().Done()
		}))
		server := httptest.NewServer(door)
		hs[0].town.set(func(ms []shard.Member) []shard.Member {
			return append(ms, shard.Member{Node: shard.Node{ID: "x"}, Name: "n2", Peer: strings.TrimPrefix(server.URL, "http://"), Up: true})
		})
		c := listen(t, hs[0].tap, hs[0].front, "")
		untilMissing(t, c, "[n2]")
		for range 2 { // again
			select {
			case <-asked:
			case <-time.After(patience):
				t.Errorf("%s: it is not asked again", name)
			}
		}
		_ = c.CloseNow()
		hs[0].stop()
		server.Close()
	}
}

// What a slow reader does not get from another node is counted and told to it as well, and neither node's writes wait.
func TestTapDropsBetweenNodes(t *testing.T) {
	hs := newTown(t, 2, TapOptions{Queue: 4})
	c := listen(t, hs[0].tap, hs[0].front, "")
	const samples = 20_000
	hs[1].accept(strings.Repeat("x", 5000), make([]int64, samples)...)
	got, lost := 0, 0.0
	for float64(got)+lost < samples {
		m := hear(t, c)
		if n, ok := m["dropped"]; ok {
			lost += n.(float64)
		} else if m["device_id"] != nil {
			got++
		}
	}
	if counted := testutil.ToFloat64(hs[0].tap.dropped) + testutil.ToFloat64(hs[1].tap.dropped); lost == 0 || counted != lost {
		t.Errorf("%v lost, %v counted", lost, counted)
	}
	// A key that is longer than all keys that may wait.
	hs[1].accept(strings.Repeat("x", maxQueued), 1)
	hs[1].accept("d", 2)
	for want := 2; want > 0; want-- {
		switch m := hear(t, c); {
		case m["dropped"] == 1.0, m["device_id"] == "d":
		default:
			t.Errorf("got %.100v", m)
		}
	}
}

// The door for other nodes is for them alone, and refuses what is too much.
func TestTapRefusesStreams(t *testing.T) {
	hs := newTown(t, 1, TapOptions{MaxStreams: 1})
	m := shard.Member{Name: "n1", Peer: strings.TrimPrefix(hs[0].peer.URL, "http://")}
	post := func(secret []byte, body string) (int, func()) {
		t.Helper()
		c := peer.NewClient(peer.ClientOptions{Self: "x", Secret: secret})
		t.Cleanup(c.Close)
		resp, err := c.Post(context.Background(), m, pathTap, []byte(body), nil)
		if err == nil {
			return 200, func() { _ = resp.Body.Close() }
		}
		var code int
		if _, err := fmt.Sscanf(err.Error()[strings.Index(err.Error(), "answered "):], "answered %d:", &code); err != nil {
			t.Fatal(err)
		}
		return code, func() {}
	}
	for _, r := range []struct {
		name   string
		secret []byte
		body   string
		code   int
	}{
		{"a stranger", nil, "", 401},
		{"no form", clusterSecret, "%zz", 400},
		{"no selector", clusterSecret, url.Values{"match[]": {"{"}}.Encode(), 400},
		{"a costly selector", clusterSecret, url.Values{"match[]": {`{a=~"` + strings.Repeat("(a|b)?", 20_000) + `"}`}}.Encode(), 400},
		{"a large body", clusterSecret, strings.Repeat("x", maxMatch+1), 400},
	} {
		if code, _ := post(r.secret, r.body); code != r.code {
			t.Errorf("%s: %d, want %d", r.name, code, r.code)
		}
	}
	code, leave := post(clusterSecret, "")
	if again, _ := post(clusterSecret, ""); code != 200 || again != 503 {
		t.Errorf("two streams, where one is allowed: %d and %d", code, again)
	}
	leave()
	poll(t, func() bool { return len(hs[0].tap.current()) == 0 })
	hs[0].tap.Drain(context.Background())
	if code, _ := post(clusterSecret, ""); code != 503 {
		t.Errorf("after the end: %d", code)
	}
}
