package cluster

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// The answer about digests is frames of leaves, sorted by partition and window:
//
//	┌───────────┬──────────────────────────┬────────────────┐
//	│ uvarint   │ varint start of the      │ digest         │ …
//	│ partition │ window / its length      │                │
//	└───────────┴──────────────────────────┴───────16───────┘
//
// When only their sums are asked for, they are all of window 0.

const leafBytes = 160 // of memory, with what comparing it takes

// digests answers with the digests of windows, or their sums by partition.
func (h *ReadHandlers) digests(ctx context.Context, w *answerWriter, q *request) error {
	leaves, err := h.local.Digests(ctx, q.mint, q.maxt)
	if err != nil {
		return err
	}
	if !q.leaves {
		leaves = sumLeaves(leaves)
	}
	var buf []byte
	for _, l := range leaves {
		buf = appendLeaf(buf, l)
		if len(buf) >= frameBytes {
			if err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	if len(buf) == 0 {
		return nil
	}
	return w.Write(buf)
}

// sumLeaves adds the leaves of each partition up. It uses their memory.
func sumLeaves(leaves []shard.Leaf) []shard.Leaf {
	out := leaves[:0]
	for _, l := range leaves {
		if n := len(out); n > 0 && out[n-1].Partition == l.Partition {
			out[n-1].Digest = out[n-1].Digest.Plus(l.Digest)
			continue
		}
		l.Window = 0
		out = append(out, l)
	}
	return out
}

func appendLeaf(b []byte, l shard.Leaf) []byte {
	b = binary.AppendUvarint(b, uint64(l.Partition))
	b = binary.AppendVarint(b, l.Window/shard.WindowMillis)
	return l.Digest.AppendTo(b)
}

var errLeaf = errors.New("the digests are malformed")

// frame takes in a frame of leaves. Nothing of them is believed.
func (d *digests) frame(payload []byte, q *request, b *budget) error {
	u := unpacker{b: payload}
	for len(u.b) > 0 {
		p, w := u.uvarint(), u.varint()
		l := shard.Leaf{Partition: uint16(p), Window: w * shard.WindowMillis, Digest: series.Digest{Hi: u.uint64(), Lo: u.uint64()}}
		switch n := len(d.leaves); {
		case u.bad || p >= shard.Partitions || l.Window/shard.WindowMillis != w:
			return errLeaf
		case n > 0 && d.leaves[n-1].Compare(l) >= 0:
			return errLeaf
		}
		if err := b.take(leafBytes); err != nil {
			return err
		}
		if err := d.add([]shard.Leaf{l}, q.parts); err != nil {
			return err
		}
	}
	return nil
}
