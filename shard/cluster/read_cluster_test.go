package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/vector"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

const (
	firstTime = int64(1_700_000_000_000) // ms
	lastTime  = firstTime + 20*60*60*1000
)

// source is a store as a node reads it.
type source struct{ *store.Store }

func (s source) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := s.Store.Scan(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return sel, nil
}

// readNode is a node of a cluster in this process.
type readNode struct {
	source Source
	store  *store.Store
	reader *Reader
	view   atomic.Pointer[shard.View]
	asked  atomic.Int64                                                      // requests that came
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool] // of each; false: it has answered itself
	delay  atomic.Int64                                                      // of an evaluation, ns
	cut    atomic.Int64                                                      // bytes after which an evaluation breaks off; 0: none does
}

func (n *readNode) View() *shard.View { return n.view.Load() }

// readCluster is nodes with stores of their own.
type readCluster struct {
	nodes []*readNode
	ring  *shard.Ring
}

// unsynced is a disk that no power cut will hit.
type unsynced struct{ disk.FS }

type unsyncedFile struct{ disk.File }

func (d unsynced) Create(path string) (disk.File, error) {
	f, err := d.FS.Create(path)
	return unsyncedFile{f}, err
}

func (d unsynced) Open(path string) (disk.File, error) {
	f, err := d.FS.Open(path)
	return unsyncedFile{f}, err
}

func (unsynced) SyncDir(string) error { return nil }
func (unsyncedFile) Sync() error      { return nil }

func openStore(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	o.FS = unsynced{disk.OS}
	if o.Now == nil {
		o.Now = func() time.Time { return time.UnixMilli(lastTime) }
	}
	s, err := store.Open(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newReadCluster starts n nodes. Options are the readers'.
func newReadCluster(t testing.TB, n, replication int, o ReaderOptions) *readCluster {
	t.Helper()
	return newReadClusterOf(t, n, replication, o, store.Options{})
}

func newReadClusterOf(t testing.TB, n, replication int, o ReaderOptions, so store.Options) *readCluster {
	t.Helper()
	c := &readCluster{}
	members := make([]shard.Member, n)
	ids := make([]shard.Node, n)
	for i := range members {
		ids[i] = shard.Node{ID: fmt.Sprintf("node-%02d", i), State: shard.Active}
		members[i] = shard.Member{Node: ids[i], Name: fmt.Sprint("n", i), Up: true}
	}
	var err error
	if c.ring, err = shard.NewRing(ids, replication); err != nil {
		t.Fatal(err)
	}
	if o.Now == nil {
		o.Now = func() time.Time { return time.UnixMilli(lastTime) }
	}
	for i := range members {
		s := openStore(t, so)
		nd := &readNode{store: s, source: source{s}}
		epoch := func() uint64 { return nd.View().Ring.Epoch() }
		server := peer.NewServer(peer.ServerOptions{Epoch: epoch, Secret: []byte("secret")})
		NewReadHandlers(nd.source, nd, AnswerOptions{Evaluate: nd.evaluate}).Register(server)
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			nd.asked.Add(1)
			if f := nd.before.Load(); f != nil && !(*f)(w, r) {
				return
			}
			if n := nd.cut.Load(); n > 0 && r.URL.Path == pathEvaluate {
				w = &cutWriter{ResponseWriter: w, left: int(n)}
			}
			server.ServeHTTP(w, r)
		}))
		t.Cleanup(web.Close)
		members[i].Peer = strings.TrimPrefix(web.URL, "http://")
		client := peer.NewClient(peer.ClientOptions{Self: ids[i].ID, Epoch: epoch, Secret: []byte("secret")})
		t.Cleanup(client.Close)
		nd.reader = NewReader(nd.source, nd, client, o)
		c.nodes = append(c.nodes, nd)
	}
	c.see(members)
	return c
}

// evaluate evaluates for another node.
func (n *readNode) evaluate(ctx context.Context, request []byte) ([]byte, error) {
	select {
	case <-time.After(time.Duration(n.delay.Load())):
	case <-ctx.Done():
	}
	return vector.NewAnswerer(columns{n.source}, vector.AnswererOptions{}).Evaluate(ctx, request)
}

// cutWriter loses what comes after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *cutWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return w.ResponseWriter.Write(b)
}

// observe makes a node own nothing.
func (c *readCluster) observe(t testing.TB, node int) {
	t.Helper()
	nodes := slices.Clone(c.ring.Nodes())
	nodes[node].Observer = true
	var err error
	if c.ring, err = shard.NewRing(nodes, c.ring.Replication()); err != nil {
		t.Fatal(err)
	}
	c.down()
}

// see gives all nodes a view of these members.
func (c *readCluster) see(members []shard.Member) {
	for i, n := range c.nodes {
		n.view.Store(&shard.View{Ring: c.ring, Members: slices.Clone(members), Self: i})
	}
}

// down makes all nodes know that some are down.
func (c *readCluster) down(nodes ...int) {
	members := slices.Clone(c.nodes[0].View().Members)
	for i := range members {
		members[i].Up = !slices.Contains(nodes, i)
	}
	c.see(members)
}
