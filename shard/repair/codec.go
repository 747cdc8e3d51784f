package repair

import (
	"encoding/binary"
	"fmt"

	"github.com/minitrue/minitrue/shard"
)

// How questions and answers go over the wire: numbers are varints, but for those that are said to be fixed, which are big endian.
//
//	question  kind (1 byte) flags (1) epoch (8) from (length, bytes) set mint cut maxt shift (1) after (16)
//	answer    kind (1) flags (1) epoch (8) deletes (16) oldest, and by kind:
//	  sums    cold and hot: count, then group (as distance from the one before) digest (16)
//	  leaves  upto, count of partitions, then partition (distance), count of windows, then window (in windows; distance) digest (16)
//	  pieces  count, then samples digest (8)
//	  series  count, then id (16) digest (16)
//	  copied  set
//	set       0: all; 1: count and distances; 2: 512 bytes
const (
	flagFresh = 1 << iota
	flagHints
	flagMore
	flagGained
)

// AppendTo appends the question as it goes over the wire.
func (q *Question) AppendTo(b []byte) []byte {
	b = append(b, byte(q.Kind), bit(q.Fresh, flagFresh))
	b = binary.BigEndian.AppendUint64(b, q.Epoch)
	b = binary.AppendUvarint(b, uint64(len(q.From)))
	b = append(b, q.From...)
	b = appendSet(b, q.Parts)
	b = binary.AppendVarint(b, q.Mint)
	b = binary.AppendVarint(b, q.Cut)
	b = binary.AppendVarint(b, q.Maxt)
	b = append(b, q.Shift)
	after := q.After.Bytes()
	return append(b, after[:]...)
}

// QuestionFromBytes reads what AppendTo made, from anybody.
func QuestionFromBytes(b []byte) (Question, error) {
	r := reader{b: b}
	q := Question{Kind: Kind(r.byte())}
	q.Fresh = r.byte()&flagFresh != 0
	q.Epoch = r.uint64()
	q.From = string(r.bytes(r.count(1, maxFrom)))
	q.Parts = r.set()
	q.Mint, q.Cut, q.Maxt = r.varint(), r.varint(), r.varint()
	q.Shift = r.byte()
	q.After = r.id()
	if err := r.end(); err != nil {
		return Question{}, fmt.Errorf("question of a peer: %w", err)
	}
	if err := q.check(); err != nil {
		return Question{}, fmt.Errorf("question of a peer: %w", err)
	}
	return q, nil
}

// AppendTo appends the answer as it goes over the wire.
func (a *Answer) AppendTo(b []byte) []byte {
	b = append(b, byte(a.Kind), bit(a.Hints, flagHints)|bit(a.More, flagMore)|bit(a.Gained, flagGained))
	b = binary.BigEndian.AppendUint64(b, a.Epoch)
	b = a.Deletes.AppendTo(b)
	b = binary.AppendVarint(b, a.Oldest)
	switch a.Kind {
	case Sums:
		b = appendSums(appendSums(b, a.Cold), a.Hot)
	case Leaves:
		b = appendLeaves(binary.AppendUvarint(b, uint64(a.Upto)), a.Leaves)
	case Pieces:
		b = binary.AppendUvarint(b, uint64(len(a.Pieces)))
		for _, p := range a.Pieces {
			b = binary.BigEndian.AppendUint64(binary.AppendUvarint(b, p.Samples), p.Digest)
		}
	case Series:
		b = binary.AppendUvarint(b, uint64(len(a.Series)))
		for _, s := range a.Series {
			id := s.ID.Bytes()
			b = s.Digest.AppendTo(append(b, id[:]...))
		}
	case Copied:
		b = appendSet(b, a.Done)
	}
	return b
}

// AnswerFromBytes reads a peer's answer to a question. What it returns is about nothing that was not asked.
func AnswerFromBytes(b []byte, q Question) (*Answer, error) {
	r := reader{b: b}
	a := &Answer{Kind: Kind(r.byte())}
	flags := r.byte()
	a.Hints, a.More, a.Gained = flags&flagHints != 0, flags&flagMore != 0, flags&flagGained != 0
	a.Epoch = r.uint64()
	a.Deletes = r.digest()
	a.Oldest = r.varint()
	if a.Kind != q.Kind {
		r.fail("it is of kind %d, asked was for %d", a.Kind, q.Kind)
	}
	switch a.Kind {
	case Sums:
		a.Cold, a.Hot = r.sums(q), r.sums(q)
	case Leaves:
		r.leaves(a, q)
	case Pieces:
		r.pieces(a, q)
	case Series:
		r.series(a, q)
	case Copied:
		a.Done = r.set()
		a.Done.Intersect(q.Parts)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("answer of a peer: %w", err)
	}
	return a, nil
}

func bit(on bool, f byte) byte {
	if on {
		return f
	}
	return 0
}

// The forms of a set.
const (
	setAll = iota
	setList
	setBits
)

const setBytes = shard.Partitions / 8

func appendSet(b []byte, s *shard.Set) []byte {
	n := s.Len()
	if n == shard.Partitions {
		return append(b, setAll)
	}
	start := len(b)
	b = binary.AppendUvarint(append(b, setList), uint64(n))
	last := 0
	for p := range s.Partitions() {
		b = binary.AppendUvarint(b, uint64(int(p)-last))
		last = int(p)
	}
	if len(b)-start > setBytes {
		return s.AppendTo(append(b[:start], setBits))
	}
	return b
}

func appendSums(b []byte, sums []Sum) []byte {
	b = binary.AppendUvarint(b, uint64(len(sums)))
	last := uint16(0)
	for _, s := range sums {
		b = s.Digest.AppendTo(binary.AppendUvarint(b, uint64(s.Group-last)))
		last = s.Group
	}
	return b
}

func appendLeaves(b []byte, leaves []shard.Leaf) []byte {
	partitions := 0
	for i, l := range leaves {
		if i == 0 || l.Partition != leaves[i-1].Partition {
			partitions++
		}
	}
	b = binary.AppendUvarint(b, uint64(partitions))
	last := uint16(0)
	for len(leaves) > 0 {
		p, n := leaves[0].Partition, 1
		for n < len(leaves) && leaves[n].Partition == p {
			n++
		}
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(p-last)), uint64(n))
		w := int64(0)
		for _, l := range leaves[:n] {
			b = l.Digest.AppendTo(binary.AppendVarint(b, l.Window/shard.WindowMillis-w))
			w = l.Window / shard.WindowMillis
		}
		last, leaves = p, leaves[n:]
	}
	return b
}
