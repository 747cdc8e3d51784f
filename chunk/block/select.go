package block

import (
	"encoding/binary"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/zeebo/xxh3"
)

// Postings returns the ordinals of the series that match all matchers, ascending: all
// series when there are none. A label that a series lacks counts as empty, as in PromQL.
func (b *Block) Postings(ms ...*labels.Matcher) ([]uint32, error) {
	text := matchersText(ms)
	key := b.serial ^ xxh3.HashString(text)
	if p, ok := b.cache.postings.Get(key); ok && p.serial == b.serial && p.matchers == text && b.Err() == nil {
		return slices.Clone(p.ords), nil
	}
	s := selection{index: b.index}
	ords, err := s.run(ms)
	if err := b.because(err); err != nil {
		return nil, err
	}
	if b.cache.postings.Due(key) {
		b.cache.postings.Put(key, postings{b.serial, text, slices.Clone(ords)}, int64(len(text)+4*len(ords)))
	}
	return ords, nil
}

// postings are the series of an open block that matchers select.
type postings struct {
	serial   uint64
	matchers string
	ords     []uint32
}

// matchersText tells matchers from all others.
func matchersText(ms []*labels.Matcher) string {
	var b []byte
	for _, m := range ms {
		b = append(b, byte(m.Type))
		b = binary.AppendUvarint(b, uint64(len(m.Name)))
		b = append(b, m.Name...)
		b = binary.AppendUvarint(b, uint64(len(m.Value)))
		b = append(b, m.Value...)
	}
	return view(b)
}
