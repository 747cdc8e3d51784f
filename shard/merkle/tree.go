package merkle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

const (
	// Fan is how many children a node of a tree has.
	Fan = 16
	// Levels is the level on which the nodes are partitions; that of the root is 0.
	Levels = 3
)

// Tree is a Merkle tree over the digests of samples. It is immutable.
type Tree struct {
	leaves []shard.Leaf
	levels [Levels + 1][]series.Digest // by level, the nodes of it
}

// NewTree returns the tree over leaves that are sorted by partition and window. It keeps the slice, which nobody may change from then on.
func NewTree(leaves []shard.Leaf) (*Tree, error) {
	for i, l := range leaves {
		switch {
		case l.Partition >= shard.Partitions:
			return nil, fmt.Errorf("tree: there is no partition %d", l.Partition)
		case i > 0 && leaves[i-1].Compare(l) >= 0:
			return nil, fmt.Errorf("tree: leaf %d is not behind the one before it", i)
		}
	}
	t := &Tree{leaves: leaves}
	partitions := make([]series.Digest, shard.Partitions)
	var b []byte
	for len(leaves) > 0 {
		p, n := leaves[0].Partition, 0
		for b = b[:0]; n < len(leaves) && leaves[n].Partition == p; n++ {
			b = leaves[n].Digest.AppendTo(binary.BigEndian.AppendUint64(b, uint64(leaves[n].Window)))
		}
		partitions[p], leaves = hash(b), leaves[n:]
	}
	t.levels[Levels] = partitions
	for level := Levels - 1; level >= 0; level-- {
		below := t.levels[level+1]
		nodes := make([]series.Digest, len(below)/Fan)
		for i := range nodes {
			nodes[i] = parent(below[i*Fan : (i+1)*Fan])
		}
		t.levels[level] = nodes
	}
	return t, nil
}

func hash(b []byte) series.Digest {
	h := xxh3.Hash128(b)
	return series.Digest{Hi: h.Hi, Lo: h.Lo}
}

// parent is the digest of a node with these children.
func parent(children []series.Digest) series.Digest {
	if !slices.ContainsFunc(children, func(d series.Digest) bool { return !d.IsZero() }) {
		return series.Digest{}
	}
	var b [16 * Fan]byte
	out := b[:0]
	for _, d := range children {
		out = d.AppendTo(out)
	}
	return hash(out)
}

// Root is equal for trees that are equal, and zero for one without leaves.
func (t *Tree) Root() series.Digest { return t.levels[0][0] }

// Children returns the digests of the children of nodes of a level, Fan for each.
func (t *Tree) Children(_ context.Context, level int, nodes []uint16) ([]series.Digest, error) {
	if level < 0 || level >= Levels {
		return nil, fmt.Errorf("tree: there are no children on level %d", level)
	}
	if len(nodes) > len(t.levels[level]) {
		return nil, fmt.Errorf("tree: level %d has %d nodes, and %d are asked for", level, len(t.levels[level]), len(nodes))
	}
	out := make([]series.Digest, 0, Fan*len(nodes))
	for _, n := range nodes {
		if int(n) >= len(t.levels[level]) {
			return nil, fmt.Errorf("tree: level %d has no node %d", level, n)
		}
		out = append(out, t.levels[level+1][int(n)*Fan:(int(n)+1)*Fan]...)
	}
	return out, nil
}

// Leaves returns the leaves of partitions, which ascend.
func (t *Tree) Leaves(_ context.Context, partitions []uint16) ([]shard.Leaf, error) {
	var out []shard.Leaf
	for i, p := range partitions {
		if i > 0 && partitions[i-1] >= p {
			return nil, errors.New("tree: the partitions asked for do not ascend")
		}
		first, _ := slices.BinarySearchFunc(t.leaves, p, func(l shard.Leaf, p uint16) int { return int(l.Partition) - int(p) })
		for ; first < len(t.leaves) && t.leaves[first].Partition == p; first++ {
			out = append(out, t.leaves[first])
		}
	}
	return out, nil
}
