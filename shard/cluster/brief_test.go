package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang/snappy"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/peer"
)

// everybodyKnows is for encode.
func everybodyKnows(r *route) uint8 { return 1<<len(r.writers) - 1 }

// What is sent by ids, and what takes the place of that when it cannot be, are the batch bit for bit.
func TestBriefRoundTrip(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		n := 1 + r.IntN(6)
		rs := newRoutes(mustRing(t, n, 1+r.IntN(3)))
		b := randomBatch(r, r.IntN(60), 0)
		s := splits.Get().(*split)
		s.place(b, rs, "device_id", series.Limits{})
		for i := range b.Series { // some are known, by some of the writers
			for j := range rs.all[max(s.route[i], 0)].writers {
				if s.route[i] != none && r.IntN(8) > 0 {
					rs.known.learn(s.ids[i:i+1], &rs.all[s.route[i]], j)
				}
			}
		}
		s.place(b, rs, "device_id", series.Limits{})
		if err := s.encode(b, rs, everybodyKnows); err != nil {
			t.Fatal(err)
		}
		s.address(n, -1)
		byNode, _ := s.pack()
		for node, ds := range byNode {
			want := series.Batch{Metadata: b.Metadata}
			for i := range b.Series {
				if s.route[i] == none || !rs.all[s.route[i]].has(node) {
					continue
				}
				at := len(want.Series)
				want.Series = append(want.Series, series.Entry{Key: s.keys[i], First: len(want.Samples), Count: b.Series[i].Count})
				want.Samples = append(want.Samples, b.Samples[b.Series[i].First:][:b.Series[i].Count]...)
				for _, h := range run(b.Histograms, i, func(h *series.Histogram) int { return h.Series }) {
					h.Series = at
					want.Histograms = append(want.Histograms, h)
				}
				for _, x := range run(b.Exemplars, i, func(x *series.Exemplar) int { return x.Series }) {
					x.Series = at
					want.Exemplars = append(want.Exemplars, x)
				}
			}
			var got, whole []string
			for _, d := range ds {
				got = append(got, describe(readBody(t, s, d.body))...)
				rest := s.unbrief(b, d.parcels)
				w := joinRest(d.body, rest)
				all := readBody(t, s, w)
				whole = append(whole, describe(all)...)
				for at := range all.Series {
					if i := s.nth(d.parcels, at); !bytes.Equal(s.keys[i], all.Series[at].Key) {
						t.Fatalf("seed %d: series %d of the body is said to be %q, and is %q", seed, at, s.keys[i], all.Series[at].Key)
					}
				}
				if len(w.fresh.ids) != len(all.Series) {
					t.Fatalf("seed %d: %d series are known after a body with %d", seed, len(w.fresh.ids), len(all.Series))
				}
			}
			slices.Sort(got)
			slices.Sort(whole)
			if w := describe(&want); !slices.Equal(got, w) || !slices.Equal(whole, w) {
				t.Fatalf("seed %d, node %d: got\n%q\nwithout ids\n%q\nwant\n%q", seed, node, got, whole, w)
			}
		}
		s.release()
	}
}

// readBody reads a body as its receiver does, and finds the keys of what is there by ids.
func readBody(t *testing.T, s *split, b *body) *series.Batch {
	t.Helper()
	got := &series.Batch{}
	if request := b.b[b.brief:]; len(request) > 0 {
		plain, err := snappy.Decode(nil, request)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = batchOf(plain); err != nil {
			t.Fatal(err)
		}
	}
	if len(got.Series) != b.series {
		t.Fatalf("%d series in the request, and the body says %d", len(got.Series), b.series)
	}
	got.IDs = make([]series.ID, len(got.Series))
	if err := decodeBrief(got, b.b[:b.brief]); err != nil {
		t.Fatal(err)
	}
	for i := b.series; i < len(got.Series); i++ {
		got.Series[i].Key = s.keys[slices.Index(s.ids, got.IDs[i])]
	}
	return got
}

// lender lends the memory of batches for longer than their appends, and scribbles over it when nobody has it.
type lender struct {
	refuse bool // it has none
	kept   atomic.Int32
	back   atomic.Int32
}

// lend lends a batch; the caller gives it back as those do who keep it.
func (l *lender) lend(b *series.Batch) (give func()) {
	var users atomic.Int32
	users.Store(1)
	give = func() {
		if users.Add(-1) == 0 {
			scribble(b)
		}
	}
	b.Keep = func() func() {
		if l.refuse {
			return nil
		}
		l.kept.Add(1)
		users.Add(1)
		return func() {
			l.back.Add(1)
			give()
		}
	}
	return give
}

// A node fails when its write is acknowledged already, and the memory of the batch is another's, or is so as soon as it has failed: what it
// missed has all labels.
func TestBriefOutlivesItsBatch(t *testing.T) {
	for _, row := range []struct {
		name string
		l    *lender
		kept int32
	}{{"not kept", nil, 0}, {"kept", &lender{}, 1}, {"cannot be kept", &lender{refuse: true}, 0}} {
		t.Run(row.name, func(t *testing.T) {
			w := newWriteWorld(t, 3, 3, WriterOptions{})
			if err := w.writer.Append(t.Context(), simple(100)); err != nil {
				t.Fatal(err)
			}
			w.settle()
			fail := make(chan struct{})
			w.nodes[2].before = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get(headerBrief) == "" {
					t.Error("what the node knows is sent with labels")
				}
				<-fail
				return refuse(503)(rw, r)
			}
			b := simple(100)
			var want [][]string
			for i := range b.Samples {
				b.Samples[i].V = math.Pi
				want = append(want, contents(b, i))
			}
			l, give := &lender{}, func() { scribble(b) }
			if row.l != nil {
				l = row.l
				give = l.lend(b)
			}
			if err := w.writer.Append(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if n := l.kept.Load(); n != row.kept || l.back.Load() != 0 {
				t.Fatalf("the batch is kept %d times and given back %d times, want %d and 0", n, l.back.Load(), row.kept)
			}
			give()
			close(fail)
			w.settle()
			if n := l.back.Load(); n != row.kept {
				t.Fatalf("the batch is given back %d times, want %d", n, row.kept)
			}
			w.nodes[2].before = nil
			if len(w.hints.of("n2")) == 0 {
				t.Fatal("nothing is kept for the node")
			}
			w.writer.replay(context.Background(), "n2")
			for i, e := range simple(100).Series {
				if !w.nodes[2].memory.has(string(e.Key), want[i]) {
					t.Fatalf("the node has not got series %d", i)
				}
			}
		})
	}
}

// A batch of which every node has answered is given back at once.
func TestBriefNeedsNoBatch(t *testing.T) {
	w := newWriteWorld(t, 3, 3, WriterOptions{Consistency: All})
	l := &lender{}
	for range 3 {
		b := simple(10)
		l.lend(b)
		if err := w.writer.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.kept.Load(); n != 0 {
		t.Errorf("%d batches were kept", n)
	}
}

// A node that is started anew and knows nothing gets everything with labels, once.
func TestBriefUnknown(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{Consistency: All})
	sent := 0
	write := func() {
		b := simple(50)
		sent++
		for i := range b.Samples {
			b.Samples[i].T += int64(sent)
		}
		if err := w.writer.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		for i, e := range b.Series {
			if !w.nodes[1].memory.has(string(e.Key), contents(b, i)) {
				t.Fatalf("write %d is acknowledged and not there", sent)
			}
		}
	}
	write()
	write()
	if n := w.nodes[1].memory.briefs; n != 50 {
		t.Fatalf("%d series came by ids, want 50", n)
	}
	w.nodes[1].memory.keys = nil
	write()
	write()
	if n := w.nodes[1].memory.briefs; n != 100 {
		t.Errorf("%d series came by ids, want 100", n)
	}
}

func TestAcceptBriefRefused(t *testing.T) {
	known := simple(3)
	brief := briefOf(known)
	request := snappy.Encode(nil, nil)
	rows := []struct {
		name, header string
		body         []byte
		epoch        string
		code         int
		text         string
	}{
		{"known", fmt.Sprint(len(brief)), brief, "", 200, ""},
		{"with a request", fmt.Sprint(len(brief)), append(slices.Clone(brief), request...), "", 200, ""},
		{"no number", "many", brief, "", 400, "length of the brief"},
		{"negative", "-1", brief, "", 400, "length of the brief"},
		{"longer than the body", fmt.Sprint(len(brief) + 1), brief, "", 400, "length of the brief"},
		{"too long", fmt.Sprint(mostBrief + 1), make([]byte, mostBrief+2), "", 400, "length of the brief"},
		{"cut", fmt.Sprint(len(brief) - 1), brief[:len(brief)-1], "", 400, "byte"},
		{"a request that is none", fmt.Sprint(len(brief)), append(slices.Clone(brief), 1, 2, 3), "", 400, "snappy"},
		{"unknown", fmt.Sprint(len(brief)), briefOf(simple(4)), "", 412, "not known"},
		{"another ring", fmt.Sprint(len(brief)), brief, "0000000000000001", 412, "ring"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWriteWorld(t, 1, 1, WriterOptions{})
			node := w.nodes[0]
			if err := node.memory.Append(t.Context(), known); err != nil {
				t.Fatal(err)
			}
			h := NewAcceptHandler(&node.memory, decodeProto, node, AcceptOptions{}).(*acceptHandler)
			r := httptest.NewRequest(http.MethodPost, writePath, bytes.NewReader(row.body))
			r.Header.Set("X-Minitrue-Epoch", fmt.Sprintf("%016x", node.epoch()))
			if row.epoch != "" {
				r.Header.Set("X-Minitrue-Epoch", row.epoch)
			}
			if row.name == "unknown" {
				row.header = fmt.Sprint(len(row.body))
			}
			r.Header.Set(headerBrief, row.header)
			rw := httptest.NewRecorder()
			h.ServeHTTP(rw, r)
			if rw.Code != row.code || !strings.Contains(rw.Body.String(), row.text) {
				t.Errorf("%d %s, want %d and %q", rw.Code, rw.Body, row.code, row.text)
			}
			if n := h.briefs.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

// Who sends more at once than there is room for is told to wait, and nothing of it is read.
func TestAcceptBriefsBounded(t *testing.T) {
	w := newWriteWorld(t, 1, 1, WriterOptions{})
	h := NewAcceptHandler(&w.nodes[0].memory, decodeProto, w.nodes[0], AcceptOptions{}).(*acceptHandler)
	h.briefs.Store(mostBriefs)
	brief := briefOf(simple(1))
	r := httptest.NewRequest(http.MethodPost, writePath, bytes.NewReader(brief))
	r.Header.Set(headerBrief, fmt.Sprint(len(brief)))
	rw := httptest.NewRecorder()
	h.ServeHTTP(rw, r)
	if rw.Code != 503 || rw.Header().Get("Retry-After") == "" || h.briefs.Load() != mostBriefs {
		t.Errorf("%d %s, %d bytes are counted", rw.Code, rw.Body, h.briefs.Load())
	}
}

// A brief whose bytes were changed on the way is not stored, though nothing comes behind it that would have to be read.
func TestAcceptBriefChanged(t *testing.T) {
	w := newWriteWorld(t, 2, 2, WriterOptions{Consistency: All})
	secret := []byte("0123456789abcdef")
	server := peer.NewServer(peer.ServerOptions{Epoch: w.nodes[1].epoch, Secret: secret})
	server.Handle(writePath, NewAcceptHandler(&w.nodes[1].memory, decodeProto, w.nodes[1], AcceptOptions{}))
	change := false
	w.nodes[1].before = func(rw http.ResponseWriter, r *http.Request) bool {
		if change && r.Header.Get(headerBrief) != "" {
			b := make([]byte, r.ContentLength)
			_, _ = r.Body.Read(b)
			b[len(b)-1] ^= 1
			r.Body = http.NoBody
			r.Body = readCloser{bytes.NewReader(b)}
		}
		server.ServeHTTP(rw, r)
		return true
	}
	client := peer.NewClient(peer.ClientOptions{Self: nodeID(0), Epoch: w.nodes[0].epoch, Secret: secret})
	t.Cleanup(client.Close)
	w.writer.client = client
	for range 2 {
		if err := w.writer.Append(t.Context(), simple(3)); err != nil {
			t.Fatal(err)
		}
		change = true
	}
	if n := w.nodes[1].memory.briefs; n != 0 {
		t.Errorf("%d series were stored of a body that was changed", n)
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// briefOf is a brief of a batch.
func briefOf(b *series.Batch) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(b.Series)))
	out = append(out, make([]byte, 8)...)
	last := int64(0)
	for _, e := range b.Series {
		id := series.HashKey(e.Key).Bytes()
		out = binary.AppendUvarint(append(out, id[:]...), uint64(e.Count))
		for _, x := range b.Samples[e.First : e.First+e.Count] {
			out = binary.AppendVarint(out, x.T-last)
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x.V))
			last = x.T
		}
	}
	return out
}

// No bytes make more of a brief than their number allows.
func FuzzBrief(f *testing.F) {
	f.Add(briefOf(simple(3)))
	f.Add([]byte{})
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got series.Batch
		err := decodeBrief(&got, b)
		if len(got.Series) > len(b)/leastBrief || len(got.Samples) > len(b)/leastSample || len(got.IDs) != len(got.Series) {
			t.Fatalf("%d series, %d ids, %d samples of %d bytes", len(got.Series), len(got.IDs), len(got.Samples), len(b))
		}
		for i, e := range got.Series {
			if err == nil && (e.First < 0 || e.Count < 0 || e.First+e.Count > len(got.Samples)) {
				t.Fatalf("series %d: %+v of %d", i, e, len(got.Samples))
			}
		}
	})
}
