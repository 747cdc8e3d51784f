package head

import (
	"slices"
	"strings"
)

// restEvery is how many series are compared between two calls of rest.
const restEvery = 64

// Sorted returns all refs in the order of their labels. The caller does not change it. Sorting many that are new takes long, and
// calls rest often.
func (r *Registry) Sorted(rest func()) []Ref {
	r.sortMu.Lock()
	defer r.sortMu.Unlock()
	r.mu.RLock()
	fresh := slices.Clone(r.refs[len(r.sorted):])
	r.mu.RUnlock()
	if len(fresh) == 0 {
		return r.sorted
	}
	compared := 0
	compare := func(a, b Ref) int {
		if compared++; compared%restEvery == 0 {
			rest()
		}
		// The lock is taken for each comparison, not for the whole sort: a million series take seconds.
		r.mu.RLock()
		defer r.mu.RUnlock()
		return r.compare(a, b)
	}
	slices.SortFunc(fresh, compare)
	merged := make([]Ref, 0, len(r.sorted)+len(fresh))
	old := r.sorted
	for len(old) > 0 && len(fresh) > 0 {
		if compare(old[0], fresh[0]) < 0 {
			merged, old = append(merged, old[0]), old[1:]
		} else {
			merged, fresh = append(merged, fresh[0]), fresh[1:]
		}
	}
	r.sorted = append(append(merged, old...), fresh...)
	return r.sorted
}

// compare orders two series as labels.Compare orders their labels.
func (r *Registry) compare(a, b Ref) int {
	ra, rb := r.series.at(uint32(a)), r.series.at(uint32(b))
	for i := range uint32(min(ra.n, rb.n)) {
		ia, ib := *r.labels.at(ra.labels + i), *r.labels.at(rb.labels + i)
		if ia == ib {
			continue
		}
		pa, pb := r.pairs.at(ia), r.pairs.at(ib)
		if pa.name != pb.name {
			return strings.Compare(r.names[pa.name], r.names[pb.name])
		}
		return strings.Compare(pa.value, pb.value)
	}
	return int(ra.n) - int(rb.n)
}
