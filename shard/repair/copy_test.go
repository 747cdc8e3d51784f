package repair

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Owners that are written to all the time never have what the node that joins has; it is whole with one pass over a quorum of them.
func TestJoinWhileWritesNeverEnd(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active, shard.Joining)
	es := sensors(100)
	c.fill(es, start, start+10*60_000, 0, 1, 2)
	j := c.nodes[3]
	gains := j.view.Ring.Copying(3)
	es = slices.DeleteFunc(es, func(e *entry) bool { return !gains.Has(e.partition) })
	acked := int64(start + 10*60_000) // a write by the old ring
	for _, e := range es {
		c.nodes[1].store.put(e, acked, 1)
		c.nodes[2].store.put(e, acked, 1)
	}
	next, batches := acked, 0
	write := func() { // each owner gets something that the others get later
		next++
		for i, n := range c.nodes[:3] {
			for _, e := range es {
				n.store.put(e, next+int64(i)*1_000_000, 1)
			}
		}
	}
	c.between = func(*series.Batch) {
		batches++
		write()
	}
	for range 6 {
		write()
		c.steps(1)
	}
	if j.ended != "active" {
		t.Fatalf("it waits for %s", j.rep.Progress().WaitingFor)
	}
	for _, e := range es {
		if !j.store.has(e, acked) || !j.store.has(e, start) {
			t.Fatalf("it lacks what was acknowledged of %v", e.labels)
		}
	}
	if most := 3 * 2 * len(es); batches > most {
		t.Errorf("it took %d batches, of three passes over %d series", batches, len(es))
	}
}

// A node that comes up with the ring before may have begun a write by it: the time that this may take begins anew.
func TestKnownWaitsForWhoComesUp(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active, shard.Joining)
	j := c.nodes[3]
	up := &j.view.Members[2].Up
	*up = false
	ctx := context.Background()
	for i, step := range []struct {
		up    bool
		pass  time.Duration
		waits bool
	}{
		{false, 4 * time.Second, true},
		{true, 4 * time.Second, true}, // 4 s after the first
		{true, time.Second, true},     // 8 s after the first, 4 s after the one that came up
		{false, time.Second, true},    // it goes and comes: that makes no difference
		{true, 0, false},
	} {
		*up = step.up
		if err := j.rep.known(ctx, j.view); (err != nil) != step.waits {
			t.Errorf("step %d: %v", i, err)
		}
		c.pass(step.pass)
	}
}

// Rounds are rarer while the node copies.
func TestRoundsMakeRoomForACopy(t *testing.T) {
	c := newTrio(t, 2, shard.Active, shard.Active)
	r, m := c.nodes[0].rep, c.nodes[0].view.Members[1]
	for _, copies := range []int32{0, 1} {
		r.copies.Store(copies)
		for _, soon := range []bool{false, true} {
			r.mu.Lock()
			r.state(m.ID).soon = soon
			r.mu.Unlock()
			r.told(m, nil, 0)
			pause := time.Duration(r.states[m.ID].due-c.clock) * time.Millisecond
			if long := pause > 2*r.o.Interval; long != (copies > 0) {
				t.Errorf("with %d copies, and soon %t, the next round is in %v", copies, soon, pause)
			}
		}
	}
}

// A round that took long is followed by a rest from all rounds, but none becomes rarer than Interval says.
func TestRoundsRest(t *testing.T) {
	c := newTrio(t, 2, shard.Active, shard.Active, shard.Active)
	r, v := c.nodes[0].rep, c.nodes[0].view
	if m, pause := r.nextPeer(); pause > 0 || m.ID == "" {
		t.Fatalf("no round is due for %v", pause)
	}
	for _, row := range []struct{ took, rest int64 }{{0, 1}, {20, 400}, {10_000, 5000}} {
		r.told(v.Members[1], nil, row.took)
		r.states[v.Members[2].ID].due = 0
		r.states[v.Members[1].ID].due = 0
		_, pause := r.nextPeer()
		if got := pause.Milliseconds(); row.took > 0 && got != row.rest || got > row.rest {
			t.Errorf("after a round of %d ms there is none for %d ms, want %d", row.took, got, row.rest)
		}
	}
}
