package merkle

import (
	"context"
	"fmt"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Peer is a tree elsewhere; a [Tree] is one too. It may change between two questions: what is found to differ is looked at again anyway.
type Peer interface {
	Children(ctx context.Context, level int, nodes []uint16) ([]series.Digest, error)
	Leaves(ctx context.Context, partitions []uint16) ([]shard.Leaf, error)
}

// Difference is a leaf that is not the same in two trees. The digest of one that is missing is zero.
type Difference struct {
	Partition    uint16
	Window       int64 // its start, ms
	Mine, Theirs series.Digest
}

// Compare returns in which leaves the tree of a peer differs, by partition and window. It takes up to five questions to
// the peer, each about as many nodes as differ.
func (t *Tree) Compare(ctx context.Context, p Peer) ([]Difference, error) {
	nodes := []uint16{0}
	for level := 0; level < Levels; level++ {
		theirs, err := p.Children(ctx, level, nodes)
		if err != nil {
			return nil, fmt.Errorf("compare trees on level %d: %w", level, err)
		}
		mine, err := t.Children(ctx, level, nodes)
		if err != nil {
			return nil, err
		}
		if len(theirs) != len(mine) {
			return nil, fmt.Errorf("compare trees on level %d: the peer gives %d digests, want %d", level, len(theirs), len(mine))
		}
		var differ []uint16
		for i, d := range mine {
			if d != theirs[i] {
				differ = append(differ, nodes[i/Fan]*Fan+uint16(i%Fan))
			}
		}
		if len(differ) == 0 {
			return nil, nil
		}
		nodes = differ
	}
	theirs, err := p.Leaves(ctx, nodes)
	if err != nil {
		return nil, fmt.Errorf("compare leaves: %w", err)
	}
	mine, err := t.Leaves(ctx, nodes)
	if err != nil {
		return nil, err
	}
	diff, err := Diff(mine, theirs)
	if err != nil {
		return nil, fmt.Errorf("compare leaves: %w", err)
	}
	return diff, nil
}

// Diff returns in what two sorted lists of leaves differ.
func Diff(mine, theirs []shard.Leaf) ([]Difference, error) {
	for _, leaves := range [][]shard.Leaf{mine, theirs} {
		for i := 1; i < len(leaves); i++ {
			if leaves[i-1].Compare(leaves[i]) >= 0 {
				return nil, fmt.Errorf("leaf %d is not behind the one before it", i)
			}
		}
	}
	var out []Difference
	for len(mine)+len(theirs) > 0 {
		c := 0
		switch {
		case len(mine) == 0:
			c = 1
		case len(theirs) == 0:
			c = -1
		default:
			c = mine[0].Compare(theirs[0])
		}
		var d Difference
		if c <= 0 {
			d.Partition, d.Window, d.Mine, mine = mine[0].Partition, mine[0].Window, mine[0].Digest, mine[1:]
		}
		if c >= 0 {
			d.Partition, d.Window, d.Theirs, theirs = theirs[0].Partition, theirs[0].Window, theirs[0].Digest, theirs[1:]
		}
		if d.Mine != d.Theirs {
			out = append(out, d)
		}
	}
	return out, nil
}
