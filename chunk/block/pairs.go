package block

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/zeebo/xxh3"
)

// pairs numbers the distinct labels (name and value) of a block in the order in which
// they come. Values lie in one slab and the table has no pointers, so that
// millions of them cost the collector nothing.
type pairs struct {
	names  []string
	nameOf map[string]uint32

	name  []uint32 // by pair: its name
	hash  []uint32 // by pair
	end   []uint32 // by pair: end of its value in slab, where the next begins
	slab  []byte
	table []uint32 // open addressing: 1 + pair, 0 is free; a power of two
}

func newPairs() *pairs {
	return &pairs{nameOf: make(map[string]uint32), table: make([]uint32, 1<<10)}
}

func (p *pairs) value(pair uint32) string {
	var start uint32
	if pair > 0 {
		start = p.end[pair-1]
	}
	return view(p.slab[start:p.end[pair]])
}

func (p *pairs) isMetric(pair uint32) bool { return p.names[p.name[pair]] == model.MetricNameLabel }

// nameNumber numbers a label name.
func (p *pairs) nameNumber(name string) uint32 {
	n, ok := p.nameOf[name]
	if !ok {
		name = strings.Clone(name)
		n = uint32(len(p.names))
		p.names = append(p.names, name)
		p.nameOf[name] = n
	}
	return n
}

var errTooLarge = errors.New("the labels are too large for one block")

// number returns the number of a label. The strings are copied when they are kept.
func (p *pairs) number(name uint32, value string) (uint32, error) {
	h := uint32(xxh3.HashStringSeed(value, uint64(name)))
	mask := uint32(len(p.table) - 1)
	i := h & mask
	for ; p.table[i] != 0; i = (i + 1) & mask {
		if n := p.table[i] - 1; p.hash[n] == h && p.name[n] == name && p.value(n) == value {
			return n, nil
		}
	}
	if uint64(len(p.slab))+uint64(len(value)) > math.MaxUint32 || len(p.name) >= math.MaxInt32 {
		return 0, errTooLarge
	}
	n := uint32(len(p.name))
	p.table[i] = n + 1
	p.name, p.hash = append(p.name, name), append(p.hash, h)
	p.slab = append(p.slab, value...)
	p.end = append(p.end, uint32(len(p.slab)))
	if len(p.name)*4 > len(p.table)*3 {
		p.grow()
	}
	return n, nil
}

func (p *pairs) grow() {
	p.table = make([]uint32, len(p.table)*2)
	mask := uint32(len(p.table) - 1)
	for n, h := range p.hash {
		i := h & mask
		for p.table[i] != 0 {
			i = (i + 1) & mask
		}
		p.table[i] = uint32(n) + 1
	}
}

// compare orders two label sets, given as pairs, as labels.Compare does.
func (p *pairs) compare(a, b []uint32) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		if p.name[a[i]] != p.name[b[i]] {
			return strings.Compare(p.names[p.name[a[i]]], p.names[p.name[b[i]]])
		}
		return strings.Compare(p.value(a[i]), p.value(b[i]))
	}
	return len(a) - len(b)
}

// sorted returns all pairs by name and value, and the names in order with the place of
// their first pair among them; the last entry of first is how many pairs there are. It rests between names.
func (p *pairs) sorted(rest func()) (order []uint32, names []string, first []uint32) {
	byName := make([]uint32, len(p.names))
	for i := range byName {
		byName[i] = uint32(i)
	}
	slices.SortFunc(byName, func(a, b uint32) int { return strings.Compare(p.names[a], p.names[b]) })
	first = make([]uint32, len(p.names)+1)
	place := make([]uint32, len(p.names)) // by name: where its next pair goes
	count := make([]uint32, len(p.names))
	for _, n := range p.name {
		count[n]++
	}
	for i, n := range byName {
		names = append(names, p.names[n])
		place[n] = first[i]
		first[i+1] = first[i] + count[n]
	}
	order = make([]uint32, len(p.name))
	for pair, n := range p.name {
		order[place[n]] = uint32(pair)
		place[n]++
	}
	for i := range names {
		rest()
		p.sortValues(order[first[i]:first[i+1]])
	}
	return order, names, first
}

// sortValues sorts pairs of one name by value. Values of one name often begin alike,
// so they are compared by the eight bytes behind what all have in common first.
func (p *pairs) sortValues(order []uint32) {
	if len(order) < 2 {
		return
	}
	common := p.value(order[0])
	for _, pair := range order {
		v := p.value(pair)
		n := 0
		for n < len(common) && n < len(v) && common[n] == v[n] {
			n++
		}
		common = common[:n]
	}
	type keyed struct {
		key  uint64
		pair uint32
	}
	ks := make([]keyed, len(order))
	for i, pair := range order {
		ks[i] = keyed{prefixKey(p.value(pair)[len(common):]), pair}
	}
	slices.SortFunc(ks, func(a, b keyed) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return strings.Compare(p.value(a.pair), p.value(b.pair))
	})
	for i, k := range ks {
		order[i] = k.pair
	}
}

// prefixKey is the first eight bytes of a string, so that numbers order as strings do.
func prefixKey(s string) (k uint64) {
	for i := range 8 {
		k <<= 8
		if i < len(s) {
			k |= uint64(s[i])
		}
	}
	return k
}
