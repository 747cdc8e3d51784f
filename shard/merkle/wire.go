package merkle

import (
	"encoding/binary"
	"fmt"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// AppendDigests appends digests as they go over the wire: 16 bytes each, big endian.
func AppendDigests(b []byte, digests []series.Digest) []byte {
	for _, d := range digests {
		b = d.AppendTo(b)
	}
	return b
}

// DecodeDigests is the inverse of AppendDigests.
func DecodeDigests(b []byte) ([]series.Digest, error) {
	if len(b)%16 != 0 {
		return nil, fmt.Errorf("digests have 16 bytes each, and there are %d", len(b))
	}
	out := make([]series.Digest, 0, len(b)/16)
	for ; len(b) > 0; b = b[16:] {
		out = append(out, decodeDigest(b))
	}
	return out, nil
}

func decodeDigest(b []byte) series.Digest {
	return series.Digest{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
}

const leafBytes = 2 + 8 + 16

// AppendLeaves appends leaves as they go over the wire: partition, window and digest, all big endian, 26 bytes each.
func AppendLeaves(b []byte, leaves []shard.Leaf) []byte {
	for _, l := range leaves {
		b = binary.BigEndian.AppendUint16(b, l.Partition)
		b = binary.BigEndian.AppendUint64(b, uint64(l.Window))
		b = l.Digest.AppendTo(b)
	}
	return b
}

// DecodeLeaves is the inverse of AppendLeaves. Leaves that are not sorted, or are of no partition, are refused.
func DecodeLeaves(b []byte) ([]shard.Leaf, error) {
	if len(b)%leafBytes != 0 {
		return nil, fmt.Errorf("leaves have %d bytes each, and there are %d", leafBytes, len(b))
	}
	out := make([]shard.Leaf, 0, len(b)/leafBytes)
	for ; len(b) > 0; b = b[leafBytes:] {
		l := shard.Leaf{
			Partition: binary.BigEndian.Uint16(b),
			Window:    int64(binary.BigEndian.Uint64(b[2:])),
			Digest:    decodeDigest(b[10:]),
		}
		if n := len(out); l.Partition >= shard.Partitions || n > 0 && out[n-1].Compare(l) >= 0 {
			return nil, fmt.Errorf("leaf %d, of partition %d, is not in order", n, l.Partition)
		}
		out = append(out, l)
	}
	return out, nil
}
