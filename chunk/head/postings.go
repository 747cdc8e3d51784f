package head

import (
	"encoding/binary"
	"slices"
	"sort"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/shard"
)

// piece is 64 bytes, a cache line: seven words, and the number of the piece that follows.
type piece struct {
	words [7]uint64
	next  uint32
	_     uint32
}

// post adds a ref, greater than all before it, to the series of a pair.
func (r *Registry) post(p *pair, ref Ref) {
	p.count++
	if p.count == 1 {
		p.first, p.last = ref, ref
		return
	}
	var buf [binary.MaxVarintLen32]byte
	for _, c := range buf[:binary.PutUvarint(buf[:], uint64(ref-p.last))] {
		if p.tail == 0 || p.used == 56 {
			next := r.lists.add(1)
			if p.tail == 0 {
				p.head = next
			} else {
				r.lists.at(p.tail).next = next
			}
			p.tail, p.used = next, 0
		}
		r.lists.at(p.tail).words[p.used/8] |= uint64(c) << (p.used % 8 * 8)
		p.used++
	}
	p.last = ref
}

// postings appends the series of a pair to dst, ascending.
func (r *Registry) postings(dst []Ref, p *pair) []Ref {
	if p.count == 0 {
		return dst
	}
	ref := p.first
	dst = append(dst, ref)
	var delta, shift uint32
	at, used := p.head, uint32(0)
	for left := p.count - 1; left > 0; {
		pc := r.lists.at(at)
		for ; used < 56 && left > 0; used++ {
			c := uint32(pc.words[used/8]>>(used%8*8)) & 0xff
			delta |= (c & 0x7f) << shift
			shift += 7
			if c < 0x80 {
				ref += Ref(delta)
				dst = append(dst, ref)
				delta, shift = 0, 0
				left--
			}
		}
		at, used = pc.next, 0
	}
	return dst
}

// Select returns the series that all matchers select, ascending. As in PromQL, a
// label that a series does not have is empty.
func (r *Registry) Select(ms ...*labels.Matcher) []Ref { return r.SelectWithin(nil, ms...) }

// SelectWithin is Select of the series in some partitions; nil means all.
func (r *Registry) SelectWithin(only *shard.Set, ms ...*labels.Matcher) []Ref {
	r.mu.RLock()
	defer r.mu.RUnlock()
	tests := make([]test, len(ms))
	best := -1
	for i, m := range ms {
		tests[i] = r.test(m)
		if tests[i].pairs != nil && (best < 0 || tests[i].count < tests[best].count) {
			best = i
		}
	}
	var refs []Ref
	few := only != nil // that are in the partitions, about, so that it pays to begin with these
	if few && best >= 0 {
		few = len(r.refs)/shard.Partitions*only.Len() < tests[best].count
	}
	switch {
	case few:
		refs = r.within(only)
		slices.Sort(refs)
		only = nil
	case best < 0:
		refs = slices.Clone(r.refs)
	default:
		for _, p := range tests[best].pairs {
			refs = r.postings(refs, r.pairs.at(p))
		}
		if len(tests[best].pairs) > 1 {
			slices.Sort(refs)
		}
		tests = slices.Delete(tests, best, best+1)
	}
	if len(tests) == 0 && only == nil {
		return refs
	}
	kept := refs[:0]
	for _, ref := range refs {
		if (only == nil || only.Has(r.Partition(ref))) && r.passes(ref, tests) {
			kept = append(kept, ref)
		}
	}
	return kept
}

// test is a matcher made ready for many series.
type test struct {
	m      *labels.Matcher
	name   uint32
	known  bool            // some series has the label
	pairs  []uint32        // what it selects; nil when series without the label pass as well
	count  int             // series that pairs have
	judged map[uint32]bool // values that were tried before
}

func (r *Registry) test(m *labels.Matcher) test {
	n, ok := r.numbers[m.Name]
	t := test{m: m, name: n, known: ok}
	if m.Matches("") {
		t.judged = map[uint32]bool{}
		return t
	}
	t.pairs = []uint32{}
	if !ok {
		return t
	}
	add := func(p uint32) {
		t.pairs = append(t.pairs, p)
		t.count += int(r.pairs.at(p).count)
	}
	values := m.SetMatches()
	if m.Type == labels.MatchEqual {
		values = []string{m.Value}
	}
	if m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp && len(values) > 0 {
		for _, v := range values {
			if p := r.findPair(n, v); p != 0 {
				add(p)
			}
		}
	} else {
		for _, p := range r.byName[n] {
			if m.Matches(r.pairs.at(p).value) {
				add(p)
			}
		}
	}
	slices.Sort(t.pairs)
	t.pairs = slices.Compact(t.pairs)
	return t
}

func (r *Registry) passes(ref Ref, tests []test) bool {
	rec := r.series.at(uint32(ref))
	for i := range tests {
		t := &tests[i]
		p := r.pairOf(rec, t)
		switch {
		case t.pairs != nil:
			if len(t.pairs) == 1 && t.pairs[0] != p {
				return false
			} else if _, found := slices.BinarySearch(t.pairs, p); !found {
				return false
			}
		case p != 0: // else the label is empty, which matches
			ok, tried := t.judged[p]
			if !tried {
				ok = t.m.Matches(r.pairs.at(p).value)
				t.judged[p] = ok
			}
			if !ok {
				return false
			}
		}
	}
	return true
}

// pairOf returns the pair by which a series has a test's label, or 0.
func (r *Registry) pairOf(rec *record, t *test) uint32 {
	if !t.known {
		return 0
	}
	for i := range uint32(rec.n) {
		if p := *r.labels.at(rec.labels + i); r.pairs.at(p).name == t.name {
			return p
		}
	}
	return 0
}

// LabelNames returns the sorted label names of the series that the matchers select.
func (r *Registry) LabelNames(ms ...*labels.Matcher) []string {
	var names []string
	if len(ms) == 0 {
		r.mu.RLock()
		names = slices.Clone(r.names)
		r.mu.RUnlock()
	} else {
		refs := r.Select(ms...)
		r.mu.RLock()
		seen := make([]bool, len(r.names))
		for _, ref := range refs {
			rec := r.series.at(uint32(ref))
			for i := range uint32(rec.n) {
				if n := r.pairs.at(*r.labels.at(rec.labels + i)).name; !seen[n] {
					seen[n] = true
					names = append(names, r.names[n])
				}
			}
		}
		r.mu.RUnlock()
	}
	sort.Strings(names)
	return names
}

// LabelValues returns the sorted values of a label among the series that the matchers select.
func (r *Registry) LabelValues(name string, ms ...*labels.Matcher) []string {
	var refs []Ref
	if len(ms) > 0 {
		refs = r.Select(ms...)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, ok := r.numbers[name]
	if !ok {
		return nil
	}
	var values []string
	if len(ms) == 0 {
		for _, p := range r.byName[n] {
			values = append(values, strings.Clone(r.pairs.at(p).value))
		}
	} else {
		seen := map[uint32]bool{}
		for _, ref := range refs {
			if p := r.pairOf(r.series.at(uint32(ref)), &test{name: n, known: true}); p != 0 && !seen[p] {
				seen[p] = true
				values = append(values, strings.Clone(r.pairs.at(p).value))
			}
		}
	}
	sort.Strings(values)
	return values
}

// Cardinality tells how the series spread: by metric, values by label name, series by pair.
func (r *Registry) Cardinality(each func(name, value string, series int)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for n, pairs := range r.byName {
		for _, p := range pairs {
			each(r.names[n], strings.Clone(r.pairs.at(p).value), int(r.pairs.at(p).count))
		}
	}
}
