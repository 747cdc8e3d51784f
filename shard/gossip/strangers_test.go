package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func TestStrangersAreRefused(t *testing.T) {
	rows := []struct {
		name         string
		ours, theirs func(o *Options)
		foreign      bool   // it has a cluster of its own
		reason       string // as counted by ours
		says, hears  string // in the logs of ours and theirs
	}{
		{name: "another secret", ours: func(o *Options) { o.Secret = secret(1) }, theirs: func(o *Options) { o.Secret = secret(2) },
			reason: "secret", says: "another secret", hears: "same --cluster-key-file"},
		{name: "no secret", ours: func(o *Options) { o.Secret = secret(1) }, theirs: func(*Options) {},
			reason: "secret", says: "without a secret", hears: "same --cluster-key-file"},
		{name: "a secret that we have not", ours: func(*Options) {}, theirs: func(o *Options) { o.Secret = secret(2) },
			reason: "secret", says: "this node has none", hears: "same --cluster-key-file"},
		{name: "another label", ours: func(*Options) {}, theirs: func(o *Options) { o.Label = "other" },
			reason: "label", says: "another label", hears: "another label"},
		{name: "another cluster", ours: func(*Options) {}, theirs: func(*Options) {}, foreign: true,
			reason: "cluster", says: "another cluster", hears: "empty data folder"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			o := w.options(1)
			reg := prometheus.NewRegistry()
			o.Registerer = reg
			row.ours(&o)
			a := w.start(o)
			o = w.options(2)
			row.theirs(&o)
			if row.foreign {
				w.start(o).stop()
			}
			o.Seeds = []string{a.addr}
			b := w.start(o)
			until(t, "it is refused", func() error {
				if n := testutil.ToFloat64(a.metrics.refused.WithLabelValues(row.reason)); n == 0 {
					return errors.New("nothing is counted")
				}
				if text := a.log.String(); !strings.Contains(text, row.says) {
					return fmt.Errorf("the log does not say %q", row.says)
				}
				if err := explained(b); err == nil || !strings.Contains(err.Error(), row.hears) {
					return fmt.Errorf("it hears %w, and not %q", err, row.hears)
				}
				return nil
			})
			if v := a.View(); len(v.Members) != 1 || v.Self != 0 {
				t.Errorf("n1 sees %+v", v.Members)
			}
			if v := b.View(); !row.foreign && v.Self != -1 || row.foreign && len(v.Members) != 1 {
				t.Errorf("n2 sees %+v", v.Members)
			}
			if n := strings.Count(a.log.String(), "calls"); n > 2 {
				t.Errorf("it is said %d times", n)
			}
		})
	}
}

// explained is what a node makes of an attempt to reach its seeds.
func explained(n *node) error {
	if n.ml.Load() == nil {
		return nil
	}
	return errors.Join(n.ask(context.Background(), n.lost())...)
}

func TestWithASecret(t *testing.T) {
	w := newWorld(t)
	o := w.options(1)
	o.Secret = secret(1)
	a := w.start(o)
	o = w.options(2, a.addr)
	o.Secret = secret(1)
	w.join(o, a)
}

// TestANodeDoesNotJoinTwoClusters gives it seeds of two.
func TestANodeDoesNotJoinTwoClusters(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(w.options(1)), w.start(w.options(2))
	c := w.start(w.options(3, a.addr, b.addr))
	agree(t, a, c)
	until(t, "the other cluster is refused", func() error {
		if err := explained(c); err == nil || !strings.Contains(err.Error(), "another cluster") {
			return fmt.Errorf("%w", err)
		}
		return nil
	})
	if len(b.View().Members) != 1 || len(a.View().Members) != 2 {
		t.Error("two clusters know each other")
	}
}

// TestNetwork does it over real sockets.
func TestNetwork(t *testing.T) {
	options := func(name string, seeds ...string) Options {
		return Options{
			Dir: t.TempDir(), Name: name, Bind: "127.0.0.1:0", Seeds: seeds, Secret: secret(1),
			Probe: 100 * time.Millisecond, Interval: 50 * time.Millisecond, RetryMost: 200 * time.Millisecond,
		}
	}
	run := func(o Options) *node {
		n := &node{o: o, log: &lockedBuffer{}, end: make(chan error, 1)}
		o.Logger = slog.New(slog.NewTextHandler(n.log, nil))
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		n.Cluster = c
		ctx, cancel := context.WithCancel(context.Background())
		go func() { n.end <- c.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-n.end; err != nil {
				t.Error(err)
			}
		})
		until(t, o.Name+" listens", func() error {
			if n.addr = c.addr(); n.addr == "" {
				return errors.New("not yet")
			}
			return nil
		})
		return n
	}
	a := run(options("n1"))
	b := run(options("n2", "localhost:"+a.addr[len("127.0.0.1:"):]))
	until(t, "n2 is active", b.activate)
	agree(t, a, b)
	o := options("n3")
	o.Bind = a.addr
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port that is taken: %v", err)
	}
}
