package gossip

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// copied lets nodes say that they have copied all, again and again as those do that copy, until something holds.
func copied(t testing.TB, what string, ok func() bool, nodes ...*node) {
	t.Helper()
	until(t, what, func() error {
		for _, n := range nodes {
			if v := n.View(); v.Ring.Changing() {
				if err := n.Copied(context.Background(), v.Ring.Epoch()); err != nil {
					return err
				}
			}
		}
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
}

func TestMoreAndFewerCopies(t *testing.T) {
	w := newWorld(t)
	o := w.options(1)
	o.Replication = 2
	a := w.start(o)
	b := w.join(w.options(2, addrOf(1)), a)
	c := w.join(w.options(3, addrOf(1)), a, b)
	for _, row := range []struct {
		value   string
		waiting int // nodes that copy
	}{{"3", 3}, {"2", 3}, {"3", 3}} {
		old := a.View().Ring.Replication()
		if err := b.SetSetting("replication-factor", row.value); err != nil {
			t.Fatal(err)
		}
		agree(t, a, b, c)
		if v := a.View(); fmt.Sprint(v.Ring.Resizing()) != row.value || v.Ring.Replication() != old {
			t.Errorf("from %d copies the ring changes to %d", v.Ring.Replication(), v.Ring.Resizing())
		}
		if s := c.Status(); s.Change == nil || s.Change.State != "resizing" || len(s.Change.Waiting) != row.waiting {
			t.Errorf("the status says %+v", s.Change)
		}
		copied(t, "the number of copies has changed", func() bool { return fmt.Sprint(a.View().Ring.Replication()) == row.value && !a.View().Ring.Changing() }, a, b, c)
		agree(t, a, b, c)
	}
}

func TestSettings(t *testing.T) {
	c, err := New(Options{Dir: t.TempDir(), Replication: 2, Consistency: "one"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, value string
		good        bool
	}{
		{"write-consistency", "all", true}, {"write-consistency", "all", true}, {"write-consistency", "some", false},
		{"replication-factor", "0", false}, {"replication-factor", "x", false}, {"replication-factor", "17", false}, {"replication-factor", "5", true},
		{"retention", "1d", false}, {"replication-placed", "1", false},
	} {
		if err := c.SetSetting(row.name, row.value); (err == nil) != row.good {
			t.Errorf("%s %s: %v", row.name, row.value, err)
		}
	}
	if v := c.View(); c.Setting("write-consistency") != "all" || v.Ring.Replication() != 5 || v.Ring.Changing() {
		t.Errorf("%s, %d copies, changing: %v", c.Setting("write-consistency"), v.Ring.Replication(), v.Ring.Changing())
	}
}
