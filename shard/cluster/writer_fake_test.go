package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/hint"
	"github.com/minitrue/minitrue/shard/peer"
)

// memory is a Local that keeps everything in maps, as text.
type memory struct {
	reject func(key string) (reason string) // "" stores
	fail   func() error                     // nil: never

	mu       sync.Mutex
	samples  map[string]map[string]bool // key → what was stored of the series
	metadata map[string]bool
	appends  int
	briefs   int                  // series that came without keys
	keys     map[series.ID]string // of the series that were ever stored
	tally    map[string]int       // not nil: samples are only counted
}

func (m *memory) Append(_ context.Context, b *series.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(); err != nil {
			return err
		}
	}
	named := slices.Clone(b.Series) // with the keys of all
	for i := range named {
		if named[i].Key == nil && len(b.IDs) > 0 {
			key, ok := m.keys[b.IDs[i]]
			if !ok {
				return fmt.Errorf("series %d: %w", i+1, series.ErrUnknownSeries)
			}
			named[i].Key = []byte(key)
			m.briefs++
		}
	}
	m.appends++
	b.RejectLarge() // as a store does
	for i := range named {
		e := &named[i]
		if e.Bad {
			continue
		}
		if _, err := series.CheckKey(e.Key, series.Limits{}); err != nil {
			b.Reject(i, err.(*series.LabelError).Reason, fmt.Errorf("series %d: %w", i+1, err))
			continue
		}
		if m.reject != nil {
			if reason := m.reject(string(e.Key)); reason != "" {
				b.Reject(i, reason, fmt.Errorf("%s: %w", series.KeyText(e.Key), errors.New(reason))) // the store's, too, name the series
				continue
			}
		}
		if m.keys == nil {
			m.keys = map[series.ID]string{}
		}
		m.keys[series.HashKey(e.Key)] = string(e.Key)
		if m.tally != nil {
			m.tally[string(e.Key)] += e.Count
			continue
		}
		for _, s := range contents(b, i) {
			m.put(string(e.Key), s)
		}
	}
	for _, x := range b.Metadata {
		if m.metadata == nil {
			m.metadata = map[string]bool{}
		}
		m.metadata[fmt.Sprint(x)] = true
	}
	return nil
}

// Delete is for [DeleteStore]; nobody calls it here.
func (m *memory) Delete(context.Context, int64, int64, ...*labels.Matcher) (int, error) {
	return 0, errors.New("not in a cluster")
}

// DeleteOnce deletes samples and histograms of what matchers select.
func (m *memory) DeleteOnce(_ context.Context, _ string, mint, maxt int64, ms ...*labels.Matcher) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, all := range m.samples {
		if !selects(ms, []byte(key)) {
			continue
		}
		n++
		maps.DeleteFunc(all, func(what string, _ bool) bool {
			at, _, _ := strings.Cut(what, " ")
			t, err := strconv.ParseInt(at, 10, 64)
			return err == nil && mint <= t && t <= maxt
		})
	}
	return n, nil
}

// ForgetDeletes has nothing to forget.
func (m *memory) ForgetDeletes(int64) error { return nil }

func (m *memory) put(key, what string) {
	if m.samples == nil {
		m.samples = map[string]map[string]bool{}
	}
	if m.samples[key] == nil {
		m.samples[key] = map[string]bool{}
	}
	m.samples[key][strings.Clone(what)] = true
}

// has says whether everything of a series is stored.
func (m *memory) has(key string, all []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !slices.ContainsFunc(all, func(s string) bool { return !m.samples[key][s] })
}

// contents lists what a batch has of series i, as text.
func contents(b *series.Batch, i int) (all []string) {
	e := &b.Series[i]
	for _, s := range b.Samples[e.First : e.First+e.Count] {
		all = append(all, fmt.Sprintf("%d %x", s.T, math.Float64bits(s.V)))
	}
	for _, h := range b.Histograms {
		if h.Series != i {
			continue
		}
		if h.Int != nil {
			all = append(all, fmt.Sprintf("%d %v %d", h.T, h.Int, h.Int.CounterResetHint))
		} else {
			all = append(all, fmt.Sprintf("%d %v %d", h.T, h.Float, h.Float.CounterResetHint))
		}
	}
	for _, x := range b.Exemplars {
		if x.Series == i {
			all = append(all, fmt.Sprintf("%v %x %d", x.Labels, math.Float64bits(x.Value), x.Ts))
		}
	}
	return all
}

// decodeProto is a Decode by generated code.
func decodeProto(r *http.Request) (*series.Batch, func(), error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, nil, err
	}
	b, err := batchOf(plain)
	return b, func() {}, err
}

// batchOf reads a WriteRequest.
func batchOf(plain []byte) (*series.Batch, error) {
	var req prompb.WriteRequest
	if err := req.Unmarshal(plain); err != nil {
		return nil, err
	}
	b := &series.Batch{}
	builder := labels.NewScratchBuilder(0)
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		e := series.Entry{First: len(b.Samples), Count: len(ts.Samples)}
		for _, l := range ts.Labels {
			e.Key = series.AppendLabel(e.Key, l.Name, l.Value)
		}
		for _, s := range ts.Samples {
			b.Samples = append(b.Samples, series.Sample{T: s.Timestamp, V: s.Value})
		}
		for _, h := range ts.Histograms {
			hh := series.Histogram{Series: i, T: h.Timestamp}
			if h.IsFloatHistogram() {
				hh.Float = h.ToFloatHistogram()
			} else {
				hh.Int = h.ToIntHistogram()
			}
			b.Histograms = append(b.Histograms, hh)
		}
		for _, x := range ts.Exemplars {
			b.Exemplars = append(b.Exemplars, series.Exemplar{Series: i, Exemplar: x.ToExemplar(&builder, nil)})
		}
		b.Series = append(b.Series, e)
	}
	for _, m := range req.Metadata {
		b.Metadata = append(b.Metadata, series.Metadata{Family: m.MetricFamilyName, Type: model.MetricType(strings.ToLower(m.Type.String())), Unit: m.Unit, Help: m.Help})
	}
	return b, nil
}

// memoryHints are Hints in memory.
type memoryHints struct {
	mu     sync.Mutex
	byPeer map[string][]hint.Hint
}

func (m *memoryHints) Append(peer string, h hint.Hint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byPeer == nil {
		m.byPeer = map[string][]hint.Hint{}
	}
	m.byPeer[peer] = append(m.byPeer[peer], hint.Hint{Time: h.Time, Body: bytes.Clone(h.Body)})
	return nil
}

func (m *memoryHints) Peers() (peers []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.byPeer {
		peers = append(peers, p)
	}
	return peers
}

func (m *memoryHints) Replay(ctx context.Context, peer string, send func(context.Context, hint.Hint) error) error {
	for {
		m.mu.Lock()
		list := m.byPeer[peer]
		m.mu.Unlock()
		if len(list) == 0 {
			return nil
		}
		if err := send(ctx, list[0]); err != nil {
			return err
		}
		m.mu.Lock()
		if m.byPeer[peer] = list[1:]; len(list) == 1 {
			delete(m.byPeer, peer)
		}
		m.mu.Unlock()
	}
}

func (m *memoryHints) Forget(peer string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byPeer, peer)
	return nil
}

func (m *memoryHints) of(peer string) []hint.Hint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.byPeer[peer])
}

// views is a Membership that a test changes.
type views struct{ p atomic.Pointer[shard.View] }

func (v *views) View() *shard.View { return v.p.Load() }
func (v *views) epoch() uint64     { return v.View().Ring.Epoch() }

// writeNode is one node of a cluster in this process.
type writeNode struct {
	views
	memory memory
	server *httptest.Server
	before func(w http.ResponseWriter, r *http.Request) (answered bool) // nil: nothing happens before
	old    bool                                                         // it does not know briefs

	records book // deletes that it has heard of
	deleter *Deleter
}

// writeWorld is a cluster in this process. Writes enter it at the first node.
type writeWorld struct {
	nodes  []*writeNode
	hints  *memoryHints
	client *peer.Client
	writer *Writer
}

func nodeID(i int) string { return fmt.Sprintf("n%d", i) }

// newWriteWorld makes n nodes, which are all active.
func newWriteWorld(t testing.TB, n, replication int, o WriterOptions) *writeWorld {
	w := &writeWorld{hints: &memoryHints{}}
	for range n {
		node := &writeNode{records: book{view: &shard.View{}, records: map[string][]byte{}}}
		node.deleter = NewDeleter(&node.memory, &node.records, nil, DeleterOptions{})
		server := peer.NewServer(peer.ServerOptions{Epoch: node.epoch})
		server.Handle(writePath, NewAcceptHandler(&node.memory, decodeProto, node, AcceptOptions{Deletes: node.deleter}))
		node.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.Header.Del("X-Minitrue-Steady") // so that every request comes by here
			if node.before != nil && node.before(rw, r) {
				return
			}
			if !node.old {
				server.ServeHTTP(rw, r)
				return
			}
			r.Header.Del(headerBrief) // as a header that nobody looks at
			answer := httptest.NewRecorder()
			server.ServeHTTP(answer, r)
			for k, v := range answer.Header() {
				rw.Header()[k] = v
			}
			rw.WriteHeader(answer.Code)
			_, _ = rw.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte(`,"briefs":true`), nil))
		}))
		t.Cleanup(node.server.Close)
		w.nodes = append(w.nodes, node)
	}
	states := make([]shard.State, n)
	for i := range states {
		states[i] = shard.Active
	}
	w.ring(t, replication, states, nil)
	w.client = peer.NewClient(peer.ClientOptions{Self: nodeID(0), Epoch: w.nodes[0].epoch})
	t.Cleanup(w.client.Close)
	w.writer = NewWriter(&w.nodes[0].memory, w.nodes[0], w.client, w.hints, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w.writer.Close(ctx)
	})
	return w
}

// ring makes the view of all nodes. down are those that do not answer, as the others believe.
func (w *writeWorld) ring(t testing.TB, replication int, states []shard.State, down []int) {
	for self := range w.nodes {
		w.nodes[self].p.Store(w.view(t, self, replication, states, down))
	}
}

func (w *writeWorld) view(t testing.TB, self, replication int, states []shard.State, down []int) *shard.View {
	var ns []shard.Node
	v := &shard.View{Self: -1}
	for i, s := range states {
		n := shard.Node{ID: nodeID(i), State: s, Since: int64(i)}
		ns = append(ns, n)
		v.Members = append(v.Members, shard.Member{Node: n, Name: "ing" + nodeID(i)[1:], Peer: strings.TrimPrefix(w.nodes[i].server.URL, "http://"), Up: !slices.Contains(down, i)})
		if i == self {
			v.Self = i
		}
	}
	r, err := shard.NewRing(ns, replication)
	if err != nil {
		t.Fatal(err)
	}
	v.Ring = r
	return v
}

// settle waits until nothing is under way any more.
func (w *writeWorld) settle() { w.writer.sends.Wait() }

// refuse answers every write with an error.
func refuse(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, "no", code)
		return true
	}
}

var errDisk = fmt.Errorf("%w: the disk is full", series.ErrUnavailable)
