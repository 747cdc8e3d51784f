package shard

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/zeebo/xxh3"
)

const (
	virtual = 150 // points of a node of weight 1
	probes  = 4   // places on the ring where a partition looks for nodes
)

// point is a virtual node.
type point struct {
	at   uint64
	node uint8
}

// points are those of all nodes that can own something, in the order of the ring.
func (r *Ring) points() []point {
	var points []point
	for i, n := range r.nodes {
		if n.Observer {
			continue
		}
		name := append([]byte(cmp.Or(n.Place, n.ID)), '/')
		for k := range max(1, int(math.Round(virtual*cmp.Or(n.Weight, 1)))) {
			points = append(points, point{xxh3.Hash(strconv.AppendInt(name, int64(k), 10)), uint8(i)})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		if a.at != b.at {
			return cmp.Compare(a.at, b.at)
		}
		return cmp.Compare(a.node, b.node)
	})
	return points
}

// place puts partitions on the nodes that are in. Each looks at several places of the ring (Karger et al. 1997) and goes to the
// nodes that follow one of them most closely, one in each zone first. One place alone would leave a node 8 % off its
// part, by the gaps that its points happen to follow; several even that out (Appleton and O'Reilly, Multi-probe consistent hashing, 2015).
func (r *Ring) place(owners *[Partitions][]uint8, all []point, replication int, in func(i int) bool) {
	w := walker{zones: make([]int, len(r.nodes))}
	names := map[string]int{}
	members := 0
	part := make([]bool, len(r.nodes))
	for i, n := range r.nodes {
		if part[i] = in(i); part[i] {
			members++
			if _, ok := names[n.Zone]; !ok {
				names[n.Zone] = len(names)
			}
			w.zones[i] = names[n.Zone]
		}
	}
	points := make([]point, 0, len(all))
	for _, p := range all {
		if part[p.node] {
			points = append(points, p)
		}
	}
	w.index(points)
	want := min(replication, members)
	w.want, w.wantZones = want, min(want, len(names))
	room := make([]uint8, Partitions*want)
	for p := range owners {
		owners[p] = w.collect(room[p*want:p*want:(p+1)*want], p)
	}
}

// walker collects the nodes that follow the places of a partition.
type walker struct {
	points          []point
	starts          []int32 // by the highest bits of a place: the first point there or behind
	shift           int
	zones           []int // of nodes
	want, wantZones int
	skipped         []uint8

	// The kth places of all partitions divide the ring evenly, in an order that this gives: so every arc has its part of them.
	odd [probes]uint64
}

func (w *walker) index(points []point) {
	width := bits.Len(uint(len(points)))
	w.points, w.shift, w.starts = points, 64-width, make([]int32, 1<<width)
	for k := range w.odd {
		w.odd[k] = xxh3.HashString(strconv.Itoa(k)) | 1
	}
	i := 0
	for s := range w.starts {
		for i < len(points) && points[i].at>>w.shift < uint64(s) {
			i++
		}
		w.starts[s] = int32(i)
	}
}

// after is the index of the first point at a place or behind; the ring goes on from its end at its beginning.
func (w *walker) after(place uint64) int {
	i := int(w.starts[place>>w.shift])
	for i < len(w.points) && w.points[i].at < place {
		i++
	}
	return i % len(w.points)
}

// collect appends the owners of a partition: first the nearest of different zones, and then the nearest of the rest.
func (w *walker) collect(out []uint8, partition int) []uint8 {
	if w.want == 0 {
		return out
	}
	var places [probes]uint64
	var at [probes]int
	for k := range places {
		const arc = 1 << 64 / Partitions
		places[k] = uint64(partition)*w.odd[k]%Partitions*arc + uint64(k)*(arc/probes)
		at[k] = w.after(places[k])
	}
	w.skipped = w.skipped[:0]
	for len(out) < w.want {
		if len(out) == w.wantZones && len(w.skipped) > 0 {
			n := min(w.want-len(out), len(w.skipped))
			out, w.skipped = append(out, w.skipped[:n]...), w.skipped[n:]
			continue
		}
		nearest := 0
		for k := 1; k < probes; k++ {
			if w.points[at[k]].at-places[k] < w.points[at[nearest]].at-places[nearest] { // modulo 2⁶⁴
				nearest = k
			}
		}
		n := w.points[at[nearest]].node
		if at[nearest]++; at[nearest] == len(w.points) {
			at[nearest] = 0
		}
		switch {
		case slices.Contains(out, n) || slices.Contains(w.skipped, n):
		case len(out) < w.wantZones && slices.ContainsFunc(out, func(o uint8) bool { return w.zones[o] == w.zones[n] }):
			w.skipped = append(w.skipped, n)
		default:
			out = append(out, n)
		}
	}
	return out
}
