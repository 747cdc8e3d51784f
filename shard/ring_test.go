package shard

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
)

// uuids are nodes with IDs as nodes have them, each time the same for a seed.
func uuids(n int, seed uint64) []Node {
	rng := rand.New(rand.NewPCG(seed, 1))
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i] = Node{ID: fmt.Sprintf("%08x-%04x-4%03x-%012x", rng.Uint32(), rng.Uint32()>>16, rng.Uint32()>>20, rng.Uint64()>>16), State: Active}
	}
	return nodes
}

func ringOf(t testing.TB, nodes []Node, replication int) *Ring {
	t.Helper()
	r, err := NewRing(nodes, replication)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ids are nodes by ID, for comparing rings in which their indexes differ.
func ids(r *Ring, owners []uint8) []string {
	out := make([]string, len(owners))
	for i, o := range owners {
		out[i] = r.Nodes()[o].ID
	}
	return out
}

// imbalance is how much the node with the most has, relative to the mean.
func imbalance(r *Ring) float64 {
	most, sum := 0, 0
	for i := range r.Nodes() {
		n := r.Owned(i).Len()
		most, sum = max(most, n), sum+n
	}
	return float64(most) * float64(len(r.Nodes())) / float64(sum)
}

func TestBalance(t *testing.T) {
	rows := []struct {
		nodes, replication int
		most               float64
	}{
		{3, 1, 1.10}, {5, 1, 1.13}, {10, 1, 1.15}, {20, 1, 1.25}, {50, 1, 1.40},
		{3, 2, 1.07}, {5, 2, 1.10}, {10, 2, 1.15}, {20, 2, 1.17}, {50, 2, 1.25},
		{3, 3, 1.00}, {5, 3, 1.08}, {10, 3, 1.12}, {20, 3, 1.15}, {50, 3, 1.20},
	}
	for _, row := range rows {
		for seed := range uint64(8) {
			if got := imbalance(ringOf(t, uuids(row.nodes, seed), row.replication)); got > row.most {
				t.Errorf("%d nodes, %d copies, seed %d: a node has %.3f of the mean, at most %.2f is right", row.nodes, row.replication, seed, got, row.most)
			}
		}
	}
}

// moved compares two placements by node: how many copies gained nodes, and whether any but the newcomer gained or any but the leaver lost.
func moved(t *testing.T, before, after *Ring, newcomer, leaver string) (gained int) {
	t.Helper()
	for p := range uint16(Partitions) {
		a, b := ids(before, before.Owners(p)), ids(after, after.Owners(p))
		for _, id := range b {
			if !slices.Contains(a, id) {
				if gained++; newcomer != "" && id != newcomer {
					t.Fatalf("partition %d goes from %v to %v: %s is no newcomer", p, a, b, id)
				}
			}
		}
		for _, id := range a {
			if !slices.Contains(b, id) && leaver != "" && id != leaver {
				t.Fatalf("partition %d goes from %v to %v, and %s does not leave", p, a, b, id)
			}
		}
	}
	return gained
}

func TestMovement(t *testing.T) {
	for _, n := range []int{3, 4, 5, 10, 20, 49} {
		for zones := range 4 {
			nodes := uuids(n+1, uint64(n))
			for i := range nodes {
				nodes[i].Zone = fmt.Sprint(i % (zones + 1))
			}
			few, many := ringOf(t, nodes[:n], 3), ringOf(t, nodes, 3)
			newcomer := nodes[n].ID
			joined := moved(t, few, many, newcomer, "")
			left := moved(t, many, few, "", newcomer)
			if joined != left {
				t.Errorf("%d nodes in %d zones: %d copies come and %d go", n, zones+1, joined, left)
			}
			if zones > 0 {
				continue
			}
			if got, want := float64(joined), 3.*Partitions/float64(n+1); math.Abs(got-want) > 0.12*want {
				t.Errorf("a newcomer to %d nodes gets %.0f copies, 1/%d of all is %.0f", n, got, n+1, want)
			}
		}
	}
}

func TestTheFourthNodeGetsAQuarter(t *testing.T) {
	for seed := range uint64(50) {
		nodes := uuids(4, seed)
		got := float64(moved(t, ringOf(t, nodes[:3], 3), ringOf(t, nodes, 3), nodes[3].ID, "")) / (3 * Partitions)
		if math.Abs(got-0.25) > 0.05*0.25 {
			t.Errorf("seed %d: %.4f of the copies move", seed, got)
		}
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	nodes := uuids(5, 1)
	nodes[0].Zone, nodes[3].Zone, nodes[2].Weight, nodes[4].State = "a", "b", 2, Joining
	want := ringOf(t, nodes, 3)
	check := func(nodes []Node) {
		t.Helper()
		if got := ringOf(t, nodes, 3); got.Epoch() != want.Epoch() || !equalRings(got, want) {
			t.Fatalf("another ring for %v", nodes)
		}
	}
	permute(nodes, 0, check)
	nodes = uuids(40, 2)
	want = ringOf(t, nodes, 3)
	for seed := range uint64(10) {
		rand.New(rand.NewPCG(seed, 3)).Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		check(nodes)
	}
}

func permute(nodes []Node, k int, each func([]Node)) {
	if k == len(nodes) {
		each(nodes)
	}
	for i := k; i < len(nodes); i++ {
		nodes[k], nodes[i] = nodes[i], nodes[k]
		permute(nodes, k+1, each)
		nodes[k], nodes[i] = nodes[i], nodes[k]
	}
}

func equalRings(a, b *Ring) bool {
	for p := range uint16(Partitions) {
		if !slices.Equal(a.Owners(p), b.Owners(p)) || !slices.Equal(a.Next(p), b.Next(p)) || !slices.Equal(a.Writers(p), b.Writers(p)) {
			return false
		}
	}
	return slices.Equal(a.Nodes(), b.Nodes())
}

func TestOwnersAreDistinct(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 20} {
		for _, replication := range []int{-1, 1, 2, 3, 5} {
			for zones := 1; zones <= 4; zones++ {
				nodes := uuids(n, uint64(n))
				for i := range nodes {
					nodes[i].Zone = fmt.Sprint(i % zones)
				}
				r := ringOf(t, nodes, replication)
				want := min(max(1, replication), n)
				for p := range uint16(Partitions) {
					checkOwners(t, r, p, want, min(want, zones, n))
				}
			}
		}
	}
}

func checkOwners(t *testing.T, r *Ring, p uint16, want, wantZones int) {
	t.Helper()
	owners := r.Owners(p)
	nodes, zones := slices.Clone(owners), 0
	slices.Sort(nodes)
	for i, o := range owners {
		zone := r.Nodes()[o].Zone
		if !slices.ContainsFunc(owners[:i], func(o uint8) bool { return r.Nodes()[o].Zone == zone }) {
			zones++
		}
	}
	if len(owners) != want || len(slices.Compact(nodes)) != want || zones != wantZones {
		t.Fatalf("partition %d is on %v in %d zones, want %d nodes in %d zones", p, owners, zones, want, wantZones)
	}
}

func TestWeights(t *testing.T) {
	nodes := uuids(8, 5)
	nodes[0].Weight, nodes[1].Weight, nodes[2].Weight = 2, 0.5, 1
	r := ringOf(t, nodes, 1)
	for i, want := range []float64{2, 0.5, 1} {
		got := float64(r.Owned(r.Index(nodes[i].ID)).Len()) / Partitions * 8.5
		if math.Abs(got-want) > 0.15*want {
			t.Errorf("a node of weight %v has %.2f of the mean", want, got)
		}
	}
}

func TestRefusedRings(t *testing.T) {
	rows := []struct {
		name  string
		nodes []Node
		want  string
	}{
		{"twice", []Node{{ID: "a"}, {ID: "b"}, {ID: "a"}}, "twice"},
		{"weight", []Node{{ID: "a", Weight: -1}}, "weight"},
		{"no weight", []Node{{ID: "a", Weight: math.NaN()}}, "weight"},
		{"heavy", []Node{{ID: "a", Weight: 101}}, "weight"},
		{"state", []Node{{ID: "a", State: 7}}, "state"},
		{"many", uuids(MaxNodes+1, 1), "at most"},
	}
	for _, row := range rows {
		if _, err := NewRing(row.nodes, 3); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	r := ringOf(t, nil, 3)
	if len(r.Owners(0))+len(r.Writers(0)) > 0 || r.Index("a") != -1 {
		t.Error("a ring of no nodes has owners")
	}
}

// TestGolden holds placement still: data lies on disks by it.
func TestGolden(t *testing.T) {
	nodes := []Node{
		{ID: "3f1c1d4e-0001-4000-8000-000000000001", Zone: "a", State: Active},
		{ID: "3f1c1d4e-0001-4000-8000-000000000002", Zone: "b", State: Active, Weight: 2},
		{ID: "3f1c1d4e-0001-4000-8000-000000000003", Zone: "a", State: Leaving, Since: 7},
		{ID: "3f1c1d4e-0001-4000-8000-000000000004", Zone: "c", State: Joining, Since: 3, Place: "x"},
		{ID: "3f1c1d4e-0001-4000-8000-000000000005", State: Active, Weight: 0.3},
	}
	r := ringOf(t, nodes, 3)
	var b []byte
	for p := range uint16(Partitions) {
		b = slices.Concat(b, r.Owners(p), []byte{255}, r.Next(p), []byte{254}, r.Writers(p), []byte{253})
	}
	if got, want := xxh3.Hash(b), uint64(0xc49b62ccde0da8df); got != want {
		t.Errorf("the placement is %#x, want %#x", got, want)
	}
	if got, want := r.Epoch(), uint64(0x6227abd5fa588cc); got != want {
		t.Errorf("the epoch is %#x, want %#x", got, want)
	}
}

func TestEpochsDiffer(t *testing.T) {
	base := uuids(3, 1)
	changes := []func(n []Node){
		func([]Node) {},
		func(n []Node) { n[0].State = Leaving },
		func(n []Node) { n[0].Zone = "z" },
		func(n []Node) { n[0].Weight = 2 },
		func(n []Node) { n[0].Since = 1 },
		func(n []Node) { n[0].Place = "p" },
		func(n []Node) { n[0].Replaces = "p" },
		func(n []Node) { n[0].Observer = true },
		func(n []Node) { n[0].ID = "i" },
	}
	seen := map[uint64]int{ringOf(t, base, 2).Epoch(): -1}
	for i, change := range changes {
		nodes := slices.Clone(base)
		change(nodes)
		e := ringOf(t, nodes, 3).Epoch()
		if j, ok := seen[e]; ok {
			t.Errorf("changes %d and %d give the same epoch", i, j)
		}
		seen[e] = i
	}
}

func TestStateText(t *testing.T) {
	for _, s := range []State{Joining, Active, Leaving} {
		b, err := json.Marshal(Node{State: s})
		var n Node
		if err == nil {
			err = json.Unmarshal(b, &n)
		}
		if err != nil || n.State != s {
			t.Errorf("%v becomes %s becomes %v: %v", s, b, n.State, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"state":"asleep"}`), new(Node)); err == nil || !strings.Contains(err.Error(), "joining, active, leaving") {
		t.Errorf("asleep: %v", err)
	}
}

func BenchmarkNewRing(b *testing.B) {
	nodes := uuids(50, 1)
	nodes[7].State = Joining
	for b.Loop() {
		ringOf(b, nodes, 3)
	}
}
