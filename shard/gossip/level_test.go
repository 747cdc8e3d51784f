package gossip

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/minitrue/minitrue/shard/merkle"
)

// reaches waits until nodes agree on a level, but for its version, which it returns.
func reaches(t *testing.T, want Level, nodes ...*node) string {
	t.Helper()
	agree(t, nodes...)
	l := nodes[0].Level()
	until(t, fmt.Sprintf("the level is %v", want), func() error {
		for _, n := range nodes {
			l = n.Level()
			if want.Version = l.Version; l != want {
				return fmt.Errorf("%s is at %v", n.o.Name, l)
			}
		}
		return nil
	})
	return l.Version
}

// What was acknowledged by fewer copies is not held by more before all nodes have seen to it.
func TestRaisedConsistency(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	all := []*node{a, b, c}
	first := reaches(t, Level{Write: "quorum", Held: "quorum"}, all...)
	if got := a.Raised(); got != "" {
		t.Errorf("nothing is raised, and it is %q", got)
	}
	if err := b.SetSetting("write-consistency", "all"); err != nil {
		t.Fatal(err)
	}
	v := reaches(t, Level{Write: "all", Held: "quorum"}, all...)
	step := func(what string, f func(*node) error, nodes ...*node) {
		t.Helper()
		for _, n := range nodes {
			if err := f(n); err != nil {
				t.Errorf("%s %s: %v", n.o.Name, what, err)
			}
		}
	}
	applies := func(n *node) error { return n.Applied(v) }
	levels := func(n *node) error { return n.Levelled(context.Background(), v) }
	step("applies", applies, a, b)
	agree(t, all...)
	if a.Raised() != "" {
		t.Error("n3 has not applied it")
	}
	step("applies what is over", func(n *node) error { return n.Applied(first) }, c)
	agree(t, all...)
	if a.Raised() != "" {
		t.Error("n3 has applied another decision")
	}
	step("applies", applies, c)
	agree(t, all...)
	if a.Raised() != v || c.Raised() != v {
		t.Errorf("all have applied it, and it is %q and %q", a.Raised(), c.Raised())
	}
	step("levels", levels, a, c)
	agree(t, all...)
	step("levels again", levels, a)
	if l := a.Level(); l.Held != "quorum" {
		t.Errorf("n2 has not levelled, and it is %v", l)
	}
	step("levels", levels, b, a, c)
	v = reaches(t, Level{Write: "all", Held: "all"}, all...)
	// Down is as soon as all know, and up again is not.
	step("lowers", func(n *node) error { return n.SetSetting("write-consistency", "one") }, a)
	v = reaches(t, Level{Write: "all", Held: "one"}, all...)
	step("applies", applies, all...)
	reaches(t, Level{Write: "one", Held: "one"}, all...)
	old := v
	step("raises", func(n *node) error { return n.SetSetting("write-consistency", "all") }, a)
	if v = reaches(t, Level{Write: "all", Held: "one"}, all...); v == old {
		t.Error("two decisions have one version")
	}
	step("levels for one before", func(n *node) error { return n.Levelled(context.Background(), old) }, all...)
	reaches(t, Level{Write: "all", Held: "one"}, all...)
	// A node that has gone is not waited for.
	step("applies", applies, a, b)
	w.kill(c)
	sees(t, a, "n3 is down", up(c.ID(), false))
	if err := a.Remove("n3"); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b)
	step("levels", levels, a, b)
	agree(t, a, b) // the last to say it may not know yet that the other has
	step("levels again", levels, a)
	reaches(t, Level{Write: "all", Held: "all"}, a, b)
}

// No node writes with fewer copies than before while another one that is up may still rely on more; who is down does not hold them up.
func TestLoweredConsistency(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	if err := a.SetSetting("write-consistency", "one"); err != nil {
		t.Fatal(err)
	}
	if l := a.Level(); l.Write != "quorum" || l.Held != "one" {
		t.Errorf("the others may not have heard of it, and it is %+v", l)
	}
	v := reaches(t, Level{Write: "quorum", Held: "one"}, a, b, c)
	for _, n := range []*node{a, b} {
		if err := n.Applied(v); err != nil {
			t.Fatal(err)
		}
	}
	agree(t, a, b, c)
	if a.Level().Write != "quorum" || c.Level().Write != "one" { // which has seen to itself before it asks
		t.Errorf("n3 has not applied it, and it is %+v and %+v", a.Level(), c.Level())
	}
	w.kill(c)
	reaches(t, Level{Write: "one", Held: "one"}, a, b)
	c = w.start(c.o)
	agree(t, a, b, c)
	if err := c.Applied(v); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b, c)
	w.join(w.options(4, addrOf(1)), a, b, c)
	if l := a.Level(); l.Write != "one" {
		t.Errorf("a node has come after the decision, and it is %+v", l)
	}
}

// A decision whose record has come without what is known of it, or of nodes that know no such records, promises nothing.
func TestLevelOfRecords(t *testing.T) {
	now := uint64(time.Now().Add(time.Minute).UnixMilli()) << 16
	record := func(key, value string, version uint64) merkle.Record {
		return merkle.Record{Key: settingPrefix + key, Value: []byte(value), Version: now + version, Origin: "z"}
	}
	for _, row := range []struct {
		name    string
		records []merkle.Record
		want    string // of Write and Held
	}{
		{"none", nil, "quorum quorum"},
		{"raised by a node that is older", []merkle.Record{record("write-consistency", "all", 1)}, "all one"},
		{"of another decision", []merkle.Record{record("write-consistency", "all", 1), record("write-consistency-held", "all 1-y", 2)}, "all one"},
		{"nonsense", []merkle.Record{record("write-consistency-held", "most", 2)}, "quorum one"},
		{"no setting", []merkle.Record{record("write-consistency", "most", 1)}, " one"},
		{"of an older cluster", []merkle.Record{{Key: held, Version: now, Origin: "z"}}, "quorum quorum"},
	} {
		c, err := New(Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		c.merge(row.records, "somebody")
		if l := c.Level(); l.Write+" "+l.Held != row.want {
			t.Errorf("%s: %+v, want %s", row.name, l, row.want)
		}
	}
}
