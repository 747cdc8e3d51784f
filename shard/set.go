package shard

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
)

// Set is a set of partitions. The zero value is empty.
type Set struct{ words [Partitions / 64]uint64 }

// All returns the set of all partitions.
func All() *Set {
	s := &Set{}
	for i := range s.words {
		s.words[i] = ^uint64(0)
	}
	return s
}

// Add puts a partition into the set.
func (s *Set) Add(p uint16) { s.words[p/64] |= 1 << (p % 64) }

// Remove takes a partition out.
func (s *Set) Remove(p uint16) { s.words[p/64] &^= 1 << (p % 64) }

// Has says whether a partition is in the set.
func (s *Set) Has(p uint16) bool { return s.words[p/64]>>(p%64)&1 == 1 }

// Len is how many partitions are in the set.
func (s *Set) Len() int {
	n := 0
	for _, w := range s.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// Partitions yields them in ascending order.
func (s *Set) Partitions() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i, w := range s.words {
			for ; w != 0; w &= w - 1 {
				if !yield(uint16(i*64 + bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

// Union adds all of another set.
func (s *Set) Union(o *Set) {
	for i, w := range o.words {
		s.words[i] |= w
	}
}

// Minus takes all of another set out.
func (s *Set) Minus(o *Set) {
	for i, w := range o.words {
		s.words[i] &^= w
	}
}

// Intersect takes out what is not in another set.
func (s *Set) Intersect(o *Set) {
	for i, w := range o.words {
		s.words[i] &= w
	}
}

// setBytes is the size of a set on the wire.
const setBytes = Partitions / 8

// AppendTo appends the set as it goes over the wire: 512 bytes, the first partition in the lowest bit.
func (s *Set) AppendTo(b []byte) []byte {
	for _, w := range s.words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// SetFromBytes is the inverse of AppendTo.
func SetFromBytes(b []byte) (*Set, error) {
	if len(b) != setBytes {
		return nil, fmt.Errorf("a set of partitions has %d bytes, not %d", setBytes, len(b))
	}
	s := &Set{}
	for i := range s.words {
		s.words[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return s, nil
}

type onlyKey struct{}

// Within makes a context in which storage answers for these partitions alone.
func Within(ctx context.Context, s *Set) context.Context { return context.WithValue(ctx, onlyKey{}, s) }

// Only returns the partitions that a context is limited to; nil means that it is not.
func Only(ctx context.Context) *Set {
	s, _ := ctx.Value(onlyKey{}).(*Set)
	return s
}

// Span is some partitions from a time on.
type Span struct {
	Parts *Set
	From  int64 // ms
}
