package shard

import (
	"encoding/binary"
	"fmt"
	"math"
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
	ID     string  `json:"id"` // a UUID, for as long as its data folder lives
	Zone   string  `json:"zone,omitempty"`
	Weight float64 `json:"weight,omitempty"` // its part of the data, relative to the others'; 0 means 1
	State  State   `json:"state"`
	Since  int64   `json:"since"` // when it began to join or leave, Unix ms: changes happen one at a time, in this order
}

// Ring says which nodes own which partitions. It is immutable, and equal on every node that knows the same nodes.
//
// There are two placements: the current one, of the nodes that have their data, and the next one, which differs while a
// node joins or leaves. Queries ask the current owners; writes go to both, so that the change loses nothing.
type Ring struct {
	nodes       []Node // by ID
	replication int
	epoch       uint64
	change      int                 // index of the node that joins or leaves, −1: none
	current     [Partitions][]uint8 // owners, the first is the nearest; indexes of nodes
	next        [Partitions][]uint8 // the same slices when nothing changes
	writers     [Partitions][]uint8 // current, then those of next that are not among them
}

// MaxNodes is how many nodes a cluster may have.
const MaxNodes = 256

// virtual is how many points a node of weight 1 has on the ring.
const virtual = 150

// NewRing returns the ring of these nodes. Every partition has as many owners as replication says, or as there are
// nodes. Nodes that wait for the change of another have no part in it yet.
func NewRing(nodes []Node, replication int) (*Ring, error) {
	if len(nodes) > MaxNodes {
		return nil, fmt.Errorf("ring: %d nodes, at most %d are possible", len(nodes), MaxNodes)
	}
	r := &Ring{nodes: slices.Clone(nodes), replication: max(1, replication), change: -1}
	slices.SortFunc(r.nodes, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	for i, n := range r.nodes {
		switch {
		case i > 0 && n.ID == r.nodes[i-1].ID:
			return nil, fmt.Errorf("ring: node %s is there twice", n.ID)
		case n.Weight < 0 || n.Weight > 100 || math.IsNaN(n.Weight):
			return nil, fmt.Errorf("ring: node %s has weight %v, which is not between 0 and 100", n.ID, n.Weight)
		case n.State != Active && (r.change < 0 || n.before(r.nodes[r.change])):
			r.change = i
		}
	}
	in := func(i int) bool { return r.nodes[i].State != Joining }
	r.place(&r.current, in)
	r.next, r.writers = r.current, r.current
	if c := r.change; c >= 0 {
		r.place(&r.next, func(i int) bool { return i == c && r.nodes[i].State == Joining || i != c && in(i) })
		for p := range r.writers {
			r.writers[p] = union(r.current[p], r.next[p])
		}
	}
	r.epoch = r.hash()
	return r, nil
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
	var b []byte
	b = binary.AppendUvarint(b, uint64(r.replication))
	for _, n := range r.nodes {
		b = fmt.Appendf(b, "%s\x00%s\x00%g\x00%d\x00%d\x00", n.ID, n.Zone, n.Weight, n.State, n.Since)
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

// Index returns where a node stands among Nodes, −1 when it is not there.
func (r *Ring) Index(id string) int {
	i, ok := slices.BinarySearchFunc(r.nodes, id, func(n Node, id string) int { return strings.Compare(n.ID, id) })
	if !ok {
		return -1
	}
	return i
}

// point is a virtual node.
type point struct {
	at   uint64
	node uint8
}

// place puts partitions on the nodes that are in: each goes to the nodes that follow it on the ring (Karger et al. 1997), one in
// each zone first.
func (r *Ring) place(owners *[Partitions][]uint8, in func(i int) bool) {
	var points []point
	zones := map[string]bool{}
	members := 0
	for i, n := range r.nodes {
		if !in(i) {
			continue
		}
		members++
		zones[n.Zone] = true
		w := n.Weight
		if w == 0 {
			w = 1
		}
		for k := range max(1, int(math.Round(virtual*w))) {
			points = append(points, point{xxh3.HashString(n.ID + "/" + strconv.Itoa(k)), uint8(i)})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		switch {
		case a.at < b.at, a.at == b.at && a.node < b.node:
			return -1
		}
		return 1
	})
	want := min(r.replication, members)
	for p := range owners {
		owners[p] = r.walk(points, uint64(p)*(math.MaxUint64/Partitions), want, min(want, len(zones)))
	}
}

// walk collects nodes from a place on: first such of different zones, and then any.
func (r *Ring) walk(points []point, from uint64, want, zones int) []uint8 {
	out := make([]uint8, 0, want)
	first, _ := slices.BinarySearchFunc(points, from, func(p point, at uint64) int {
		if p.at < at {
			return -1
		}
		return 1
	})
	// In the first round no zone is taken twice, in the second no node is.
	for _, round := range []struct {
		want  int
		taken func(o, n uint8) bool
	}{
		{zones, func(o, n uint8) bool { return r.nodes[o].Zone == r.nodes[n].Zone }},
		{want, func(o, n uint8) bool { return o == n }},
	} {
		for k := 0; k < len(points) && len(out) < round.want; k++ {
			n := points[(first+k)%len(points)].node
			if !slices.ContainsFunc(out, func(o uint8) bool { return round.taken(o, n) }) {
				out = append(out, n)
			}
		}
	}
	return out
}
