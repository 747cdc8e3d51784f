package block

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// selection works matchers off, those first that leave few series.
type selection struct {
	*index
	ords []uint32 // what is left
	some bool     // ords is valid; before, all series are left
}

// term is a matcher and where its label's pairs are.
type term struct {
	*labels.Matcher
	from, to uint32   // pairs of the name
	empty    bool     // it matches a series without the label
	known    bool     // pairs is what it matches: it names its values
	pairs    []uint32 // or, when empty is set, what it does not match
	length   int      // series of pairs
}

func (s *selection) run(ms []*labels.Matcher) ([]uint32, error) {
	terms, none := s.terms(ms)
	if none {
		return nil, nil
	}
	for i := range terms {
		t := &terms[i]
		// A pass over all values of the name pays when there are more series than values.
		if !t.known && (!s.some || int(t.to-t.from) <= len(s.ords)/8) {
			s.learn(t)
		}
		// To look up a series' labels costs as much as to read some sixty entries of a list.
		if s.some && (!t.known || t.length > 64*len(s.ords)) {
			s.filter(*t)
		} else if err := s.apply(*t); err != nil {
			return nil, err
		}
		if len(s.ords) == 0 {
			return nil, nil
		}
	}
	if !s.some {
		s.ords = s.except(nil)
	}
	return s.ords, nil
}

// terms puts matchers in the order of work; none tells that no series can match.
func (s *selection) terms(ms []*labels.Matcher) (terms []term, none bool) {
	for _, m := range ms {
		t := term{Matcher: m, empty: m.Matches("")}
		var ok bool
		if t.from, t.to, ok = s.nameRange(m.Name); !ok {
			if !t.empty {
				return nil, true
			}
			continue
		}
		set := m.SetMatches()
		if m.Type == labels.MatchEqual {
			set = []string{m.Value}
		}
		if !t.empty && len(set) > 0 && (m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp) {
			t.known = true
			for _, v := range set {
				if p, ok := s.find(t.from, t.to, v); ok {
					t.pairs = append(t.pairs, p)
				}
			}
			slices.Sort(t.pairs)
			t.pairs = slices.Compact(t.pairs)
			if t.length = s.lengths(t.pairs); t.length == 0 {
				return nil, true
			}
		}
		terms = append(terms, t)
	}
	rank := func(t term) int {
		switch {
		case t.known:
			return 0
		case t.empty:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(terms, func(a, b term) int {
		return cmp.Or(rank(a)-rank(b), a.length-b.length)
	})
	return terms, false
}

// learn finds the pairs of a term by asking its matcher about every value.
func (s *selection) learn(t *term) {
	if t.empty {
		for p := t.from; p < t.to; p++ {
			if !t.Matches(view(s.value(p))) {
				t.pairs = append(t.pairs, p)
			}
		}
	} else {
		t.pairs = s.matching(*t)
	}
	t.known, t.length = true, s.lengths(t.pairs)
}

// apply keeps the series of a known term by way of its lists.
func (s *selection) apply(t term) error {
	if s.some && len(t.pairs) == 1 {
		return s.keepListed(t.pairs[0], !t.empty)
	}
	set, err := s.union(t.pairs)
	switch {
	case err != nil:
		return err
	case !s.some && t.empty:
		s.ords = s.except(set)
	case !s.some:
		s.ords = set
	default:
		s.ords = keep(s.ords, set, !t.empty)
	}
	s.some = true
	return nil
}

// matching returns the pairs that a matcher matches.
func (s *selection) matching(t term) (pairs []uint32) {
	prefix := ""
	from := t.from
	if t.Type == labels.MatchRegexp {
		if prefix = t.Prefix(); prefix != "" {
			from = s.search(t.from, t.to, prefix)
		}
	}
	for p := from; p < t.to; p++ {
		v := view(s.value(p))
		if !strings.HasPrefix(v, prefix) {
			break
		}
		if t.Matches(v) {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// lengths is how many entries the lists of some pairs have.
func (s *selection) lengths(pairs []uint32) (n int) {
	for _, p := range pairs {
		n += s.length(p)
	}
	return n
}

// union returns the series that have one of some labels of one name, ascending.
func (s *selection) union(pairs []uint32) ([]uint32, error) {
	all := make([]uint32, 0, min(s.lengths(pairs), int(s.series)))
	for _, p := range pairs {
		var err error
		if all, err = s.appendList(all, p); err != nil {
			return nil, err
		}
	}
	if len(pairs) > 1 {
		s.sort(all)
	}
	return slices.Compact(all), nil
}

// keepListed keeps the series that are in the list of a label, or that are not. It reads the list as far as they reach.
func (s *selection) keepListed(pair uint32, listed bool) error {
	kept, rest := s.ords[:0], s.ords
	var r listReader
	err := r.open(s.index, pair)
	for err == nil && r.left > 0 && len(rest) > 0 {
		var some []uint32
		if some, err = r.read(); err != nil {
			break
		}
		for i := 0; len(rest) > 0 && rest[0] <= some[len(some)-1]; rest = rest[1:] {
			for some[i] < rest[0] {
				i++
			}
			if (some[i] == rest[0]) == listed {
				kept = append(kept, rest[0])
			}
		}
	}
	if s.ords = kept; !listed {
		s.ords = append(kept, rest...)
	}
	return err
}

// sort sorts ordinals: many of them by way of a bitmap, which is one pass.
func (s *selection) sort(ords []uint32) {
	if len(ords) < int(s.series)/64 || len(ords) < 64 {
		slices.Sort(ords)
		return
	}
	set := make([]uint64, s.series/64+1)
	for _, o := range ords {
		set[o/64] |= 1 << (o % 64)
	}
	i := 0
	for w, word := range set {
		for ; word != 0; word &= word - 1 {
			ords[i] = uint32(w*64 + bits.TrailingZeros64(word))
			i++
		}
	}
}

// except returns all series but those of a set.
func (s *selection) except(set []uint32) []uint32 {
	out := make([]uint32, 0, int(s.series)-len(set))
	for o := range s.series {
		if len(set) > 0 && set[0] == o {
			set = set[1:]
			continue
		}
		out = append(out, o)
	}
	return out
}

// keep returns what of ords is in set, or with in false what is not, in the memory of ords.
func keep(ords, set []uint32, in bool) []uint32 {
	out := ords[:0]
	for _, o := range ords {
		for len(set) > 0 && set[0] < o {
			set = set[1:]
		}
		if (len(set) > 0 && set[0] == o) == in {
			out = append(out, o)
		}
	}
	return out
}

// filter keeps the series whose label matches, going through their label sets. What a
// matcher says of a value is remembered: series side by side often share it.
func (s *selection) filter(t term) {
	var memo []int8 // by pair: 1 matches, -1 does not, 0 not asked yet
	if !t.known && len(s.ords) > 64 {
		memo = make([]int8, t.to-t.from)
	}
	out := s.ords[:0]
	for _, o := range s.ords {
		p, ok := s.pairOf(o, t.from, t.to)
		switch {
		case !ok:
			ok = t.empty
		case t.known:
			_, ok = slices.BinarySearch(t.pairs, p)
			ok = ok != t.empty
		case memo == nil:
			ok = t.Matches(view(s.value(p)))
		default:
			m := &memo[p-t.from]
			if *m == 0 {
				if *m = -1; t.Matches(view(s.value(p))) {
					*m = 1
				}
			}
			ok = *m > 0
		}
		if ok {
			out = append(out, o)
		}
	}
	s.ords = out
}
