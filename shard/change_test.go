package shard

import (
	"slices"
	"testing"
)

func TestChanges(t *testing.T) {
	base := uuids(6, 7)
	with := func(change func(n []Node)) []Node {
		nodes := slices.Clone(base)
		change(nodes)
		return nodes
	}
	rows := []struct {
		name   string
		nodes  []Node
		change int // index in base, −1: none
	}{
		{"all are active", base, -1},
		{"one joins", with(func(n []Node) { n[2].State, n[2].Since = Joining, 5 }), 2},
		{"one leaves", with(func(n []Node) { n[2].State, n[2].Since = Leaving, 5 }), 2},
		{"the earlier of two goes first", with(func(n []Node) { n[1].State, n[1].Since, n[4].State, n[4].Since = Joining, 6, Joining, 5 }), 4},
		{"a leaver before a joiner", with(func(n []Node) { n[1].State, n[1].Since, n[4].State, n[4].Since = Leaving, 4, Joining, 5 }), 1},
		{"an observer is no change", with(func(n []Node) { n[3].State, n[3].Observer = Joining, true }), -1},
	}
	for _, row := range rows {
		r := ringOf(t, row.nodes, 3)
		want := -1
		if row.change >= 0 {
			want = r.Index(base[row.change].ID)
		}
		if r.Change() != want || r.Changing() != (want >= 0) {
			t.Errorf("%s: the change is node %d, want %d", row.name, r.Change(), want)
		}
		checkChange(t, row.name, r)
	}
}

// checkChange checks what holds in every ring.
func checkChange(t *testing.T, name string, r *Ring) {
	t.Helper()
	var owned, written []*Set
	for i := range r.Nodes() {
		owned, written = append(owned, r.Owned(i)), append(written, r.Written(i))
	}
	for p := range uint16(Partitions) {
		owners, next, writers := r.Owners(p), r.Next(p), r.Writers(p)
		for _, o := range writers {
			if !slices.Contains(owners, o) && !slices.Contains(next, o) {
				t.Fatalf("%s: partition %d is written to %d, which has no part in it", name, p, o)
			}
		}
		for _, o := range slices.Concat(owners, next) {
			if !slices.Contains(writers, o) {
				t.Fatalf("%s: partition %d is not written to %d", name, p, o)
			}
		}
		for i, n := range r.Nodes() {
			is, will := slices.Contains(owners, uint8(i)), slices.Contains(next, uint8(i))
			switch {
			case n.Observer && (is || will), n.State == Joining && is,
				n.State == Joining && will && i != r.Change(), n.State == Leaving && will && i == r.Change():
				t.Fatalf("%s: partition %d goes from %v to %v, and node %d is %v", name, p, owners, next, i, n.State)
			}
			if is != owned[i].Has(p) || slices.Contains(writers, uint8(i)) != written[i].Has(p) {
				t.Fatalf("%s: the sets of node %d and the owners of partition %d differ", name, i, p)
			}
		}
	}
}

func TestReplacementTakesExactlyThePlace(t *testing.T) {
	nodes := uuids(6, 9)
	nodes[5].State, nodes[5].Place, nodes[5].Replaces = Joining, nodes[2].ID, nodes[2].ID
	r := ringOf(t, nodes, 3)
	old, heir := r.Index(nodes[2].ID), r.Index(nodes[5].ID)
	for p := range uint16(Partitions) {
		want := slices.Clone(r.Owners(p))
		if i := slices.Index(want, uint8(old)); i >= 0 {
			want[i] = uint8(heir)
		}
		if !slices.Equal(r.Next(p), want) {
			t.Fatalf("partition %d goes from %v to %v", p, r.Owners(p), r.Next(p))
		}
	}
	nodes[5].State, nodes[5].Replaces = Active, ""
	after := ringOf(t, slices.Delete(nodes, 2, 3), 3)
	for p := range uint16(Partitions) {
		if got, want := ids(after, after.Owners(p)), ids(r, r.Next(p)); !slices.Equal(got, want) {
			t.Fatalf("partition %d is on %v when the replacement is over, want %v", p, got, want)
		}
	}
}

func TestResize(t *testing.T) {
	nodes := uuids(5, 11)
	for _, row := range []struct{ from, to int }{{1, 3}, {3, 2}, {2, 3}, {3, 9}} {
		r, err := NewResizedRing(nodes, row.from, Resize{To: row.to, Since: 3})
		if err != nil {
			t.Fatal(err)
		}
		if r.Resizing() != row.to || !r.Changing() || r.Change() != -1 || r.Replication() != row.from {
			t.Errorf("from %d to %d copies: resizing to %d, change %d", row.from, row.to, r.Resizing(), r.Change())
		}
		checkChange(t, "resize", r)
		now, next := ringOf(t, nodes, row.from), ringOf(t, nodes, row.to)
		for p := range uint16(Partitions) {
			if !slices.Equal(r.Owners(p), now.Owners(p)) || !slices.Equal(r.Next(p), next.Owners(p)) {
				t.Fatalf("from %d to %d copies: partition %d goes from %v to %v", row.from, row.to, p, r.Owners(p), r.Next(p))
			}
		}
	}
	nodes[2].State, nodes[2].Since = Leaving, 2
	if r, err := NewResizedRing(nodes, 2, Resize{To: 3, Since: 3}); err != nil || r.Resizing() != 0 || r.Change() < 0 {
		t.Errorf("a later resize goes before a node that leaves: %v", err)
	}
	if r, err := NewResizedRing(nodes, 2, Resize{To: 3, Since: 1}); err != nil || r.Resizing() != 3 || r.Change() != -1 {
		t.Errorf("an earlier resize waits for a node that leaves: %v", err)
	}
}

func TestCopying(t *testing.T) {
	nodes := uuids(3, 13)
	two := ringOf(t, nodes[:2], 2)
	if n := two.Copying(0).Len(); n > 0 {
		t.Errorf("nothing changes, and %d partitions are to be copied", n)
	}
	nodes[2].State, nodes[2].Since = Joining, 1
	r := ringOf(t, nodes, 2)
	for i, n := range r.Nodes() {
		gained := r.Written(i)
		gained.Minus(r.Owned(i))
		if got := r.Copying(i); *got != *gained || n.State == Active && got.Len() > 0 {
			t.Errorf("a node that is %v copies %d partitions and gains %d", n.State, got.Len(), gained.Len())
		}
	}
	nodes[2].State = Leaving // of three owners two will be left, and each must have all
	r = ringOf(t, nodes, 3)
	for i, n := range r.Nodes() {
		if got := r.Copying(i).Len(); got != Partitions && n.State == Active || got > 0 && n.State == Leaving {
			t.Errorf("a node that is %v copies %d partitions", n.State, got)
		}
	}
}
