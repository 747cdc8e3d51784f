package main

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/cmd/internal/proc"
	"github.com/minitrue/minitrue/shard/cluster"
)

// A node writes from its start as the cluster has decided, and relies on more copies than before no sooner than what was written before has them.
func TestConsistencyFromTheStart(t *testing.T) {
	f, err := settled("--data-dir="+t.TempDir(), "--write-consistency=all")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	open := func() *membership {
		t.Helper()
		s, err := openStore(f, log, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMembership(f, s, log, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(m.close(), s.Close()); err != nil {
				t.Error(err)
			}
		})
		return m
	}
	m := open()
	check := func(write cluster.Consistency, acks, sources int) {
		t.Helper()
		if got := m.writer.Consistency(); got != write || m.held.acks(3) != acks || m.held.sources(3) != sources {
			t.Errorf("it writes at %v, relies on %d of 3 and copies from %d; want %v, %d and %d", got, m.held.acks(3), m.held.sources(3), write, acks, sources)
		}
	}
	check(cluster.All, 3, 1)
	for _, row := range []struct {
		value         string
		write         cluster.Consistency
		acks, sources int
	}{{"quorum", cluster.Quorum, 2, 2}, {"all", cluster.All, 2, 2}, {"one", cluster.One, 1, 3}, {"quorum", cluster.Quorum, 1, 3}} {
		if err := m.gossip.SetSetting("write-consistency", row.value); err != nil {
			t.Fatal(err)
		}
		m.takeOver(m.gossip.Level())
		check(row.write, row.acks, row.sources)
	}
}

// Two of three nodes have acknowledged what is written, and then writes shall be with all. No answer of the third, which has nothing of it and
// gets no hints, misses any; and when all have levelled it has everything, and answers alone.
func TestClusterRaisesConsistency(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3)
	third := nodes[2]
	third.Kill(t)
	untilDown(t, nodes[0], "n3")
	w := filled(t, nodes[0], "sensor")
	complete := func() error {
		got, err := scalar(third.url, `sum(count_over_time(sequence{device_id="sensor"}[2h])) or vector(0)`)
		if err == nil && got != float64(len(w.acked)) {
			t.Errorf("%v of %d acknowledged samples are in an answer", got, len(w.acked))
		}
		return err
	}
	untilHeld := func(want string, nodes ...*node) {
		t.Helper()
		proc.Until(t, "acknowledged samples are held by "+want, func() error {
			for _, n := range nodes {
				s, err := n.cluster("")
				if err := errors.Join(err, complete()); err != nil {
					return err
				}
				if s.Consistency != "all" || s.Held != want {
					return fmt.Errorf("%s writes with %s, and they are held by %s", n.url, s.Consistency, s.Held)
				}
			}
			return nil
		})
	}
	setting(t, nodes[1], "write-consistency", "all")
	nodes[0].Kill(t) // with the hints for the third
	third.start(t)
	untilHeld("quorum", nodes[1:]...)
	nodes[0].start(t)
	untilHeld("all", nodes...)
	nodes[0].Kill(t)
	nodes[1].Kill(t)
	w.check(t, third)
}
