package merkle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// counted is a peer that counts what it is asked and gives.
type counted struct {
	Peer
	questions, bytes int
}

func (c *counted) Children(ctx context.Context, level int, nodes []uint16) ([]series.Digest, error) {
	d, err := c.Peer.Children(ctx, level, nodes)
	c.questions, c.bytes = c.questions+1, c.bytes+2*len(nodes)+16*len(d)
	return d, err
}

func (c *counted) Leaves(ctx context.Context, partitions []uint16) ([]shard.Leaf, error) {
	l, err := c.Peer.Leaves(ctx, partitions)
	c.questions, c.bytes = c.questions+1, c.bytes+2*len(partitions)+leafBytes*len(l)
	return l, err
}

func treeOf(t testing.TB, leaves []shard.Leaf) *Tree {
	t.Helper()
	tree, err := NewTree(leaves)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// leaves are some of these partitions and windows.
func someLeaves(rng *rand.Rand, partitions, windows int) []shard.Leaf {
	var out []shard.Leaf
	for p := range partitions {
		for w := range windows {
			if rng.IntN(10) > 0 {
				out = append(out, shard.Leaf{Partition: uint16(p * shard.Partitions / partitions), Window: int64(w-1) * shard.WindowMillis,
					Digest: series.Digest{Hi: rng.Uint64(), Lo: rng.Uint64()}})
			}
		}
	}
	return out
}

// change makes some random changes of leaves.
func change(rng *rand.Rand, leaves []shard.Leaf, n int) []shard.Leaf {
	out := slices.Clone(leaves)
	for range n {
		i := rng.IntN(len(out) + 1)
		switch {
		case i == len(out):
			out = append(out, shard.Leaf{Partition: shard.Partitions - 1, Window: 1000 * shard.WindowMillis, Digest: series.Digest{Lo: rng.Uint64()}})
			slices.SortFunc(out, shard.Leaf.Compare)
			out = slices.CompactFunc(out, func(a, b shard.Leaf) bool { return a.Compare(b) == 0 })
		case rng.IntN(2) == 0:
			out = slices.Delete(out, i, i+1)
		default:
			out[i].Digest.Lo++
		}
	}
	return out
}

// bruteDiff is Diff by maps.
func bruteDiff(a, b []shard.Leaf) map[[2]int64][2]series.Digest {
	m := map[[2]int64][2]series.Digest{}
	for side, leaves := range [][]shard.Leaf{a, b} {
		for _, l := range leaves {
			k := [2]int64{int64(l.Partition), l.Window}
			d := m[k]
			d[side] = l.Digest
			m[k] = d
		}
	}
	for k, d := range m {
		if d[0] == d[1] {
			delete(m, k)
		}
	}
	return m
}

func TestCompareFindsWhatDiffers(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		a := someLeaves(rng, 1+rng.IntN(300), 1+rng.IntN(6))
		b := change(rng, a, rng.IntN(8))
		mine, theirs := treeOf(t, a), treeOf(t, b)
		want := bruteDiff(a, b)
		if (mine.Root() == theirs.Root()) != (len(want) == 0) {
			t.Fatalf("seed %d: %d leaves differ, and the roots are equal: %v", seed, len(want), len(want) != 0)
		}
		c := &counted{Peer: theirs}
		got, err := mine.Compare(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d differences, want %d", seed, len(got), len(want))
		}
		for i, d := range got {
			if w := want[[2]int64{int64(d.Partition), d.Window}]; w != [2]series.Digest{d.Mine, d.Theirs} {
				t.Fatalf("seed %d: difference %v, want %v", seed, d, w)
			}
			if i > 0 && (shard.Leaf{Partition: got[i-1].Partition, Window: got[i-1].Window}).Compare(shard.Leaf{Partition: d.Partition, Window: d.Window}) >= 0 {
				t.Fatalf("seed %d: the differences are not sorted", seed)
			}
		}
		if most := 300 + len(want)*(3*(16*Fan+2)+7*leafBytes+2); c.bytes > most || c.questions > Levels+1 {
			t.Errorf("seed %d: %d differences cost %d questions and %d bytes, at most %d are right", seed, len(want), c.questions, c.bytes, most)
		}
	}
}

func TestRootOfTrees(t *testing.T) {
	if !treeOf(t, nil).Root().IsZero() {
		t.Error("a tree without leaves has a root")
	}
	leaf := shard.Leaf{Partition: 5, Window: 7, Digest: series.Digest{Lo: 1}}
	if got, want := treeOf(t, []shard.Leaf{leaf}).Root().String(), "efc80da7e1827e41fa996f53271944ca"; got != want {
		t.Errorf("the root is %s, want %s", got, want)
	}
	seen := map[series.Digest]shard.Leaf{}
	for _, l := range []shard.Leaf{leaf, {Partition: 6, Window: 7, Digest: leaf.Digest}, {Partition: 5, Window: 8, Digest: leaf.Digest}, {Partition: 5, Window: 7}} {
		root := treeOf(t, []shard.Leaf{l}).Root()
		if o, ok := seen[root]; ok {
			t.Errorf("%v and %v have the same root", l, o)
		}
		seen[root] = l
	}
}

func TestRefusedTrees(t *testing.T) {
	rows := map[string][]shard.Leaf{
		"no such partition": {{Partition: shard.Partitions}},
		"not sorted":        {{Partition: 2}, {Partition: 1}},
		"twice":             {{Partition: 2, Window: 1}, {Partition: 2, Window: 1}},
	}
	for name, leaves := range rows {
		if _, err := NewTree(leaves); err == nil {
			t.Errorf("%s: that is a tree", name)
		}
		if _, err := DecodeLeaves(AppendLeaves(nil, leaves)); err == nil {
			t.Errorf("%s: the bytes are decoded", name)
		}
	}
	tree, ctx := treeOf(t, nil), context.Background()
	for _, q := range []struct {
		level int
		nodes []uint16
	}{{-1, nil}, {Levels, nil}, {0, []uint16{1}}, {0, []uint16{0, 0}}, {2, []uint16{256}}} {
		if _, err := tree.Children(ctx, q.level, q.nodes); err == nil {
			t.Errorf("there are children of %v on level %d", q.nodes, q.level)
		}
	}
	if _, err := tree.Leaves(ctx, []uint16{3, 3}); err == nil {
		t.Error("a partition is asked for twice")
	}
	if l, err := tree.Leaves(ctx, []uint16{9000}); err != nil || len(l) > 0 {
		t.Errorf("a partition that does not exist has %v: %v", l, err)
	}
}

// liar answers with what it was told to.
type liar struct {
	digests []series.Digest
	leaves  []shard.Leaf
	err     error
}

func (l liar) Children(_ context.Context, _ int, nodes []uint16) ([]series.Digest, error) {
	if l.digests == nil {
		return make([]series.Digest, Fan*len(nodes)), l.err
	}
	return l.digests, l.err
}
func (l liar) Leaves(context.Context, []uint16) ([]shard.Leaf, error) { return l.leaves, l.err }

func TestCompareWithALiar(t *testing.T) {
	tree := treeOf(t, []shard.Leaf{{Partition: 7, Digest: series.Digest{Lo: 1}}})
	rows := map[string]struct {
		peer liar
		want string
	}{
		"few digests":     {liar{digests: make([]series.Digest, 3)}, "3 digests"},
		"unsorted leaves": {liar{leaves: []shard.Leaf{{Partition: 8}, {Partition: 7}}}, "leaf 1"},
		"an error":        {liar{err: errors.New("no route")}, "no route"},
	}
	for name, row := range rows {
		if _, err := tree.Compare(context.Background(), row.peer); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeLeaves(f *testing.F) {
	f.Add(AppendLeaves(nil, someLeaves(rand.New(rand.NewPCG(1, 1)), 3, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		leaves, err := DecodeLeaves(b)
		if err != nil {
			return
		}
		if _, err := NewTree(leaves); err != nil {
			t.Fatal(err)
		}
		if got := AppendLeaves(nil, leaves); string(got) != string(b) {
			t.Fatalf("% x becomes % x", b, got)
		}
	})
}

func FuzzDecodeDigests(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := DecodeDigests(b); err == nil && string(AppendDigests(nil, d)) != string(b) {
			t.Fatalf("% x becomes %v", b, d)
		}
	})
}

func BenchmarkNewTree(b *testing.B) {
	leaves := someLeaves(rand.New(rand.NewPCG(1, 1)), shard.Partitions, 30)
	for b.Loop() {
		treeOf(b, leaves)
	}
}

func ExampleTree_Compare() {
	digest := func(n uint64) series.Digest { return series.Digest{Lo: n} }
	mine, _ := NewTree([]shard.Leaf{{Partition: 3, Digest: digest(1)}, {Partition: 9, Digest: digest(2)}})
	theirs, _ := NewTree([]shard.Leaf{{Partition: 3, Digest: digest(1)}, {Partition: 9, Digest: digest(5)}})
	differences, err := mine.Compare(context.Background(), theirs)
	if err != nil {
		panic(err)
	}
	for _, d := range differences {
		fmt.Println("partition", d.Partition, "differs")
	}
	// Output: partition 9 differs
}
