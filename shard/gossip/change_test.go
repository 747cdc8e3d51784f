package gossip

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/shard"
)

func TestTwoJoinAtOnce(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	b, c := w.start(w.options(2, addrOf(1))), w.start(w.options(3, addrOf(1)))
	agree(t, a, b, c)
	v := a.View()
	first, second := b, c
	if v.Members[v.Ring.Change()].ID == c.ID() {
		first, second = c, b
	}
	if err := second.Activate(t.Context(), v.Ring.Epoch()); err == nil {
		t.Error("the second becomes active before the first")
	}
	if n := v.Ring.Written(v.Ring.Index(second.ID())).Len(); n > 0 {
		t.Errorf("the second gets %d partitions written before the first is active", n)
	}
	if s := a.Status(); s.Change == nil || s.Change.Node != first.o.Name || len(s.Warnings) == 0 {
		t.Errorf("the status says %+v", s.Change)
	}
	for _, n := range []*node{first, second} {
		until(t, "one after the other is active", n.activate)
	}
	agree(t, a, b, c)
}

func TestLeave(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	if err := a.Left(t.Context(), a.View().Ring.Epoch()); err == nil {
		t.Error("a node is gone that is not leaving")
	}
	if err := a.Leave("n2"); err != nil {
		t.Fatal(err)
	}
	sees(t, b, "it is leaving", func(v *shard.View) bool { return v.Members[v.Self].State == shard.Leaving })
	if err := b.Left(t.Context(), b.View().Ring.Epoch()); err != nil {
		t.Fatal(err)
	}
	if err := ended(t, b); !errors.Is(err, ErrRemoved) {
		t.Errorf("the node that left ends with: %v", err)
	}
	for _, n := range []*node{a, c} {
		sees(t, n, "n2 is gone", func(v *shard.View) bool { return len(v.Members) == 2 && !v.Ring.Changing() })
	}
	agree(t, a, c)
	b.o.Bind = b.addr
	if _, err := New(b.o); !errors.Is(err, ErrRemoved) {
		t.Errorf("with its old data folder it starts again: %v", err)
	}
	if err := a.Leave("n3"); err != nil {
		t.Fatal(err)
	}
	if err := a.Leave("n1"); err == nil {
		t.Error("the last node leaves")
	}
}

// What was copied for one ring does not end the change of another.
func TestTheEndOfAnotherRing(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	d := w.start(w.options(4, addrOf(1)))
	agree(t, a, b, c, d)
	old := d.View().Ring.Epoch()
	w.kill(c)
	sees(t, a, "n3 is down", up(c.ID(), false))
	until(t, "n4 takes the place of n3", func() error { return a.Replace("n3", "n4") })
	agree(t, a, b, d)
	if err := d.Activate(t.Context(), old); !errors.Is(err, errOtherRing) {
		t.Errorf("a node becomes active that has copied for the ring before: %v", err)
	}
	until(t, "n4 is active", d.activate)
	agree(t, a, b, d)
	old = a.View().Ring.Epoch()
	if err := a.Leave("n2"); err != nil {
		t.Fatal(err)
	}
	sees(t, b, "it is leaving", func(v *shard.View) bool { return v.Members[v.Self].State == shard.Leaving })
	if err := b.Left(t.Context(), old); !errors.Is(err, errOtherRing) {
		t.Errorf("a node has left by the ring before: %v", err)
	}
}

func TestForgetADeadNode(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	if err := a.Forget("n3"); err == nil || !strings.Contains(err.Error(), "is up") {
		t.Errorf("a node that is up is forgotten: %v", err)
	}
	if err := a.Forget("n7"); err == nil {
		t.Error("a node that does not exist is forgotten")
	}
	w.kill(c)
	sees(t, a, "n3 is down", up(c.ID(), false))
	if err := a.Forget("n3"); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b)
	if s := b.Status(); s.Change == nil || s.Change.State != "leaving" || len(s.Change.Waiting) != 2 {
		t.Errorf("the status says %+v", s.Change)
	}
	gone := func() bool { return len(a.View().Members) == 2 && len(b.View().Members) == 2 }
	if err := a.Copied(t.Context(), a.View().Ring.Epoch()); err != nil {
		t.Fatal(err)
	}
	until(t, "n2 alone is waited for", func() error {
		if s := b.Status(); s.Change == nil || len(s.Change.Waiting) != 1 || gone() {
			return fmt.Errorf("%+v", s.Change)
		}
		return nil
	})
	copied(t, "n3 is gone", gone, b)
	again := w.start(c.o)
	if err := ended(t, again); !errors.Is(err, ErrRemoved) {
		t.Errorf("a node that was forgotten comes back and ends with: %v", err)
	}
	agree(t, a, b)
}

func TestRemoveAtOnce(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	w.kill(c)
	if err := b.Remove(c.ID()); err != nil {
		t.Fatal(err)
	}
	sees(t, a, "n3 is gone", func(v *shard.View) bool { return len(v.Members) == 2 && !v.Ring.Changing() })
	agree(t, a, b)
}

func TestReplaceADeadNode(t *testing.T) {
	for _, byOption := range []bool{true, false} {
		w := newWorld(t)
		a, b, c := three(w)
		w.kill(c)
		sees(t, a, "n3 is down", up(c.ID(), false))
		sees(t, b, "n3 is down", up(c.ID(), false))
		before := a.View()
		o := w.options(4, addrOf(1))
		if byOption {
			o.Replaces = "n3"
		}
		d := w.start(o)
		agree(t, a, b, d)
		if !byOption {
			for _, wrong := range [][2]string{{"n1", "n4"}, {"n3", "n2"}, {"n4", "n4"}, {"n3", "n9"}} {
				if err := a.Replace(wrong[0], wrong[1]); err == nil {
					t.Errorf("%s is replaced by %s", wrong[0], wrong[1])
				}
			}
			until(t, "n3 is replaced", func() error { return a.Replace("n3", "n4") })
			agree(t, a, b, d)
		}
		copied(t, "n4 is active", func() bool {
			v := a.View()
			i := v.Ring.Index(d.ID())
			return len(v.Members) == 3 && v.Members[i].State == shard.Active
		}, d)
		agree(t, a, b, d)
		after := b.View()
		for p := range uint16(shard.Partitions) {
			for k, o := range before.Ring.Owners(p) {
				want := before.Ring.Nodes()[o].ID
				if want == c.ID() {
					want = d.ID()
				}
				if got := after.Ring.Nodes()[after.Ring.Owners(p)[k]].ID; got != want {
					t.Fatalf("owner %d of partition %d is %s, want %s", k, p, got, want)
				}
			}
		}
		if err := ended(t, w.start(c.o)); !errors.Is(err, ErrRemoved) {
			t.Errorf("the node that was replaced comes back and ends with: %v", err)
		}
	}
}

func TestObserver(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	o := w.options(2, addrOf(1))
	o.Observer = true
	b := w.start(o)
	agree(t, a, b)
	v := b.View()
	if m := v.Members[v.Self]; m.State != shard.Active || v.Ring.Written(v.Self).Len() != 0 || v.Ring.Changing() || v.Alone() {
		t.Errorf("an observer is %+v", m)
	}
	if err := a.Leave("n2"); err != nil {
		t.Fatal(err)
	}
	if err := ended(t, b); !errors.Is(err, ErrRemoved) {
		t.Errorf("an observer that leaves ends with: %v", err)
	}
}

func TestShapeStays(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	a.stop()
	a.o.Zone, a.o.Weight = "x", 2 // alone it may be anything
	a = w.start(a.o)
	sees(t, a, "it has another shape", func(v *shard.View) bool { return v.Members[0].Zone == "x" && v.Members[0].Weight == 2 })
	b := w.join(w.options(2, addrOf(1)), a)
	epoch := a.View().Ring.Epoch()
	b.stop()
	b.o.Zone = "y"
	b = w.start(b.o)
	agree(t, a, b)
	until(t, "it says that its zone stays", func() error {
		if !strings.Contains(b.log.String(), "stay as they were") {
			return errors.New("it says nothing")
		}
		return nil
	})
	if a.View().Ring.Epoch() != epoch {
		t.Error("data moves without having been copied")
	}
}

func TestFewerNodesThanCopies(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	b := w.join(w.options(2, addrOf(1)), a)
	s := a.Status()
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "3 copies are wanted") {
		t.Errorf("the warnings are %q", s.Warnings)
	}
	if n := strings.Count(a.log.String(), "fewer nodes than copies"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	c := w.join(w.options(3, addrOf(1)), a, b)
	if s := c.Status(); len(s.Warnings) > 0 || s.Nodes[0].Share < 0.33 || s.Nodes[0].Partitions != shard.Partitions || s.Epoch != a.Status().Epoch || s.Root != a.Status().Root {
		t.Errorf("the status is %+v", s)
	}
}

func TestChangedIsClosed(t *testing.T) {
	c, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	changed, v := c.Changed(), c.View()
	if err := c.SetSetting("replication-factor", "2"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("the view changed, and the channel is open")
	}
	if c.View() == v || c.View().Ring.Replication() != 2 {
		t.Error("the view is the old one")
	}
}
