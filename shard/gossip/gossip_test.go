package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/minitrue/minitrue/shard"
)

// patience is for what happens in a moment on a machine with nothing else to do.
const patience = 30 * time.Second

// Setting is the value of a setting of the cluster, "" when it is not known.
func (c *Cluster) Setting(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, _ := c.set.Get(settingPrefix + name)
	return string(b)
}

// until asks again and again until there is no error.
func until(t testing.TB, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// node is a Cluster that runs.
type node struct {
	*Cluster
	addr string
	o    Options
	log  *lockedBuffer
	stop func()
	end  chan error
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// world is the nodes of a test.
type world struct {
	t testing.TB
	*network
}

func newWorld(t testing.TB) *world { return &world{t, newNetwork()} }

func addrOf(i int) string { return fmt.Sprintf("10.0.0.%d:7000", i) }

// options are those of node i in a test.
func (w *world) options(i int, seeds ...string) Options {
	return Options{
		Dir: w.t.TempDir(), Name: fmt.Sprint("n", i), Peer: fmt.Sprintf("10.0.0.%d:8000", i), HTTP: fmt.Sprintf("10.0.0.%d:80", i),
		Advertise: addrOf(i), Seeds: seeds,
		Probe: 40 * time.Millisecond, Interval: 20 * time.Millisecond, Timeout: 2 * time.Second, RetryMost: 50 * time.Millisecond,
	}
}

// start runs a node at an address until it is stopped or the test ends.
func (w *world) start(o Options) *node {
	w.t.Helper()
	n := &node{addr: o.Advertise, o: o, log: &lockedBuffer{}, end: make(chan error, 1)}
	o.Transport = w.listen(o.Advertise)
	o.Logger = slog.New(slog.NewTextHandler(n.log, nil))
	c, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Cluster = c
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		n.end <- c.Run(ctx)
		close(ended)
	}()
	n.stop = func() {
		cancel()
		<-ended
	}
	w.t.Cleanup(func() {
		n.stop()
		if w.t.Failed() {
			w.t.Logf("log of %s at %s:\n%s", o.Name, o.Advertise, n.log)
		}
	})
	return n
}

// kill stops a node without a goodbye.
func (w *world) kill(n *node) {
	n.Cluster.o.Transport.Shutdown()
	n.stop()
}

// join starts a node and waits until it is active and all agree.
func (w *world) join(o Options, others ...*node) *node {
	w.t.Helper()
	n := w.start(o)
	until(w.t, o.Name+" is active", func() error { return n.activate() })
	agree(w.t, append(others, n)...)
	return n
}

// activate does what the copying of data does in the end.
func (n *node) activate() error {
	v := n.View()
	if v.Self < 0 {
		return errors.New("it is in no view")
	}
	if v.Members[v.Self].State == shard.Active {
		return nil
	}
	return n.Activate(context.Background(), v.Ring.Epoch())
}

// agree waits until nodes know the same and each other.
func agree(t testing.TB, nodes ...*node) {
	t.Helper()
	until(t, "the nodes agree", func() error {
		first := nodes[0]
		for _, n := range nodes {
			v := n.View()
			if v.Self < 0 || v.Members[v.Self].ID != n.ID() {
				return fmt.Errorf("%s is in no view", n.o.Name)
			}
			if v.Ring.Epoch() != first.View().Ring.Epoch() || *n.root.Load() != *first.root.Load() || n.ClusterID() != first.ClusterID() {
				return fmt.Errorf("%s knows other things than %s", n.o.Name, first.o.Name)
			}
			for _, o := range nodes {
				if i := v.Ring.Index(o.ID()); i < 0 || !v.Members[i].Up || v.Members[i].Gossip != o.addr || v.Members[i].Name != o.o.Name {
					return fmt.Errorf("%s does not see %s rightly", n.o.Name, o.o.Name)
				}
			}
		}
		return nil
	})
}

// three are a cluster of three active nodes.
func three(w *world) (a, b, c *node) {
	w.t.Helper()
	a = w.start(w.options(1))
	b = w.join(w.options(2, addrOf(1)), a)
	c = w.join(w.options(3, addrOf(2), addrOf(1)), a, b)
	return a, b, c
}

// sees waits until a node sees another as it should.
func sees(t testing.TB, n *node, what string, ok func(v *shard.View) bool) {
	t.Helper()
	until(t, n.o.Name+" sees that "+what, func() error {
		if v := n.View(); !ok(v) {
			return fmt.Errorf("it sees %+v", v.Members)
		}
		return nil
	})
}

func up(id string, want bool) func(v *shard.View) bool {
	return func(v *shard.View) bool {
		i := v.Ring.Index(id)
		return i >= 0 && v.Members[i].Up == want
	}
}

func TestThreeNodesAgree(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	for _, n := range []*node{a, b, c} {
		v := n.View()
		if len(v.Members) != 3 || v.Ring.Replication() != 3 || v.Ring.Changing() || n.Setting("write-consistency") != "quorum" {
			t.Errorf("%s sees %+v", n.o.Name, v.Members)
		}
		if m := v.Members[v.Self]; m.Peer != n.o.Peer || m.HTTP != n.o.HTTP || m.Name != n.o.Name || m.Weight != 1 {
			t.Errorf("%s sees itself as %+v", n.o.Name, m)
		}
	}
}

func TestAloneIsActiveAtOnce(t *testing.T) {
	for _, o := range []Options{{Dir: t.TempDir()}, {Dir: t.TempDir(), Bind: "127.0.0.1:0"}} {
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		v := c.View()
		if !v.Alone() || v.Members[0].State != shard.Active || !v.Members[0].Up || v.Ring.Owned(0).Len() != shard.Partitions {
			t.Errorf("the view is %+v", v)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		again, err := New(o)
		if err != nil || again.ID() != c.ID() || again.ClusterID() != c.ClusterID() || again.View().Ring.Epoch() != v.Ring.Epoch() {
			t.Errorf("the node is another when it starts again: %v", err)
		}
	}
}

func TestANodeWithSeedsWaits(t *testing.T) {
	w := newWorld(t)
	b := w.start(w.options(2, addrOf(1)))
	if v := b.View(); v == nil || v.Self != -1 || len(v.Members) != 0 || v.Alone() {
		t.Errorf("before it reaches a seed its view is %+v", v)
	}
	a := w.start(w.options(1))
	sees(t, b, "it is joining", func(v *shard.View) bool { return v.Self >= 0 && v.Members[v.Self].State == shard.Joining })
	agree(t, a, b)
	if v := a.View(); v.Ring.Change() != v.Ring.Index(b.ID()) {
		t.Errorf("n1 sees the change %d", v.Ring.Change())
	}
	if err := b.Activate(t.Context(), b.View().Ring.Epoch()); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b)
}

func TestSeedsThatAllWaitForEachOther(t *testing.T) {
	w := newWorld(t)
	seeds := []string{addrOf(1), addrOf(2), addrOf(3)}
	b, c := w.start(w.options(2, seeds...)), w.start(w.options(3, seeds...))
	sees(t, b, "nothing has begun", func(v *shard.View) bool { return v.Self < 0 })
	a := w.start(w.options(1, seeds...))
	until(t, "all are active", func() error { // each in its turn
		return errors.Join(a.activate(), b.activate(), c.activate())
	})
	agree(t, a, b, c)
}
