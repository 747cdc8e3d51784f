package shard

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// State is what a node is in the cluster. It changes by decisions of operators and of the node itself, and never
// because somebody does not answer: that is health.
type State uint8

// The states of a node, in the order of its life.
const (
	Joining State = iota // it gets writes of what it will own, and copies the past
	Active
	Leaving // it owns what it owned until the others have copied it
)

var stateNames = []string{"joining", "active", "leaving"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "state " + strconv.Itoa(int(s))
}

// MarshalText and UnmarshalText write a state by its name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText refuses what is no state.
func (s *State) UnmarshalText(b []byte) error {
	i := slices.Index(stateNames, string(b))
	if i < 0 {
		return fmt.Errorf("%q is no state of a node: want one of %s", b, strings.Join(stateNames, ", "))
	}
	*s = State(i)
	return nil
}

// Node is what placement needs to know of a node.
type Node struct {
	ID       string  `json:"id"` // a UUID, for as long as its data folder lives
	Zone     string  `json:"zone,omitempty"`
	Weight   float64 `json:"weight,omitempty"` // its part of the data, relative to the others'; 0 means 1
	State    State   `json:"state"`
	Since    int64   `json:"since"`              // when it began to join or leave, Unix ms: changes happen one at a time, in this order
	Place    string  `json:"place,omitempty"`    // from which its points on the ring are made; "" means from its ID
	Replaces string  `json:"replaces,omitempty"` // ID of the node whose place it takes when it is active
	Observer bool    `json:"observer,omitempty"` // it answers queries and has no data
}

// Resize is a change of the number of copies. The zero value is none.
type Resize struct {
	To    int
	Since int64 // as that of a Node
}

// Ring says which nodes own which partitions. It is immutable, and equal on every node that knows the same nodes.
//
// There are two placements: the current one, of the nodes that have their data, and the next one, which differs while a
// node joins or leaves, or while the number of copies changes. Queries ask the current owners; writes go to both, so that the
// change loses nothing.
type Ring struct {
	nodes       []Node // by ID
	replication int
	resize      Resize
	resizing    bool
	epoch       uint64
	change      int                 // index of the node that joins or leaves, −1: none
	current     [Partitions][]uint8 // owners, the first is the nearest; indexes of nodes
	next        [Partitions][]uint8 // the same slices when nothing changes
	writers     [Partitions][]uint8 // current, then those of next that are not among them
}

// MaxNodes is how many nodes a cluster may have.
const MaxNodes = 256

// NewRing returns the ring of these nodes. Every partition has as many owners as replication says, or as there are
// nodes. Nodes that wait for the change of another have no part in it yet.
func NewRing(nodes []Node, replication int) (*Ring, error) {
	return NewResizedRing(nodes, replication, Resize{})
}

// NewResizedRing is NewRing while the number of copies is to change, which takes its turn among the changes.
func NewResizedRing(nodes []Node, replication int, z Resize) (*Ring, error) {
	if len(nodes) > MaxNodes {
		return nil, fmt.Errorf("ring: %d nodes, at most %d are possible", len(nodes), MaxNodes)
	}
	r := &Ring{nodes: slices.Clone(nodes), replication: max(1, replication), resize: z, change: -1}
	slices.SortFunc(r.nodes, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	for i, n := range r.nodes {
		switch {
		case i > 0 && n.ID == r.nodes[i-1].ID:
			return nil, fmt.Errorf("ring: node %s is there twice", n.ID)
		case !(n.Weight >= 0 && n.Weight <= 100):
			return nil, fmt.Errorf("ring: node %s has weight %v, which is not between 0 and 100", n.ID, n.Weight)
		case n.State > Leaving:
			return nil, fmt.Errorf("ring: node %s has an unknown %v", n.ID, n.State)
		case n.State != Active && !n.Observer && (r.change < 0 || n.before(r.nodes[r.change])):
			r.change = i
		}
	}
	r.resizing = z.To > 0 && z.To != r.replication && (r.change < 0 || z.Since < r.nodes[r.change].Since)
	if r.resizing {
		r.change = -1
	}
	r.settle()
	r.epoch = r.hash()
	return r, nil
}

// settle works out who owns what, and who will.
func (r *Ring) settle() {
	points := r.points()
	in := func(i int) bool { return r.nodes[i].State != Joining && !r.nodes[i].Observer }
	r.place(&r.current, points, r.replication, in)
	r.next, r.writers = r.current, r.current
	switch {
	case r.resizing:
		r.place(&r.next, points, r.resize.To, in)
	case r.change >= 0:
		c := r.nodes[r.change]
		r.place(&r.next, points, r.replication, func(i int) bool {
			if i == r.change {
				return c.State == Joining
			}
			return in(i) && (c.State != Joining || r.nodes[i].ID != c.Replaces)
		})
	default:
		return
	}
	for p := range r.writers {
		if slices.Equal(r.current[p], r.next[p]) {
			r.next[p] = r.current[p]
		} else {
			r.writers[p] = union(r.current[p], r.next[p])
		}
	}
}

func (n Node) before(o Node) bool {
	return n.Since < o.Since || n.Since == o.Since && n.ID < o.ID
}

func union(a, b []uint8) []uint8 {
	out := slices.Clone(a)
	for _, i := range b {
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// hash is the epoch: it says who is placed how.
func (r *Ring) hash() uint64 {
	b := binary.AppendUvarint(nil, uint64(r.replication))
	b = fmt.Appendf(b, "%d\x00%d\x00", r.resize.To, r.resize.Since)
	for _, n := range r.nodes {
		b = fmt.Appendf(b, "%q%q%g %d %d %q%q%t\n", n.ID, n.Zone, n.Weight, n.State, n.Since, n.Place, n.Replaces, n.Observer)
	}
	return xxh3.Hash(b)
}

// Epoch tells rings apart: two are equal when their epochs are.
func (r *Ring) Epoch() uint64 { return r.epoch }

// Nodes are all nodes, by ID. The slice is the ring's.
func (r *Ring) Nodes() []Node { return r.nodes }

// Replication is how many owners a partition has when there are enough nodes.
func (r *Ring) Replication() int { return r.replication }

// Change is the index of the node that is joining or leaving right now, −1 when there is none.
func (r *Ring) Change() int { return r.change }

// Resizing is the number of copies that the ring changes to right now, 0 when it does not.
func (r *Ring) Resizing() int {
	if !r.resizing {
		return 0
	}
	return r.resize.To
}

// Changing says whether a change is under way.
func (r *Ring) Changing() bool { return r.change >= 0 || r.resizing }

// Owners are the nodes that have a partition, by index; the slice is the ring's.
func (r *Ring) Owners(partition uint16) []uint8 { return r.current[partition] }

// Next are the nodes that will have a partition after the change that is under way.
func (r *Ring) Next(partition uint16) []uint8 { return r.next[partition] }

// Writers are the nodes that get what is written to a partition: its owners and the next ones.
func (r *Ring) Writers(partition uint16) []uint8 { return r.writers[partition] }

// Owned are the partitions that a node owns.
func (r *Ring) Owned(node int) *Set { return r.of(&r.current, node) }

// Written are the partitions that a node gets writes of.
func (r *Ring) Written(node int) *Set { return r.of(&r.writers, node) }

func (r *Ring) of(owners *[Partitions][]uint8, node int) *Set {
	s := &Set{}
	for p := range owners {
		if slices.Contains(owners[p], uint8(node)) {
			s.Add(uint16(p))
		}
	}
	return s
}

// Copying are the partitions that a node must have in full, copied from a quorum of their owners, before the change that is under way
// may end: those that it gains, and, where there will be fewer owners, all that it keeps. Each of fewer owners is asked alone where
// two of more were asked before, and none of them may lack what only the others had.
func (r *Ring) Copying(node int) *Set {
	s := &Set{}
	for p := range r.next {
		now, next := r.current[p], r.next[p]
		if slices.Contains(next, uint8(node)) && (len(next) < len(now) || !slices.Contains(now, uint8(node))) {
			s.Add(uint16(p))
		}
	}
	return s
}

// Index returns where a node stands among Nodes, −1 when it is not there.
func (r *Ring) Index(id string) int {
	i, ok := slices.BinarySearchFunc(r.nodes, id, func(n Node, id string) int { return strings.Compare(n.ID, id) })
	if !ok {
		return -1
	}
	return i
}
