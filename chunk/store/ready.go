package store

import (
	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// reading is what is known of a window.
type reading struct {
	digests
	parts   shard.Set                                        // whose digests are known
	live    bool                                             // the registry has sums of the window: more may come
	settled [shard.Partitions / groupSize]*[groupSize]uint32 // how often sums were added to the ledger's, when it was read
}

// ready returns what the ledger knows of some windows.
func (s *Store) ready(windows map[int64]*found) map[int64]*reading {
	all := map[int64]*reading{}
	for range 3 { // a series may go on in the next window meanwhile
		for w := range windows {
			if sh := s.ledger.sheet(w); sh != nil {
				all[w] = sh.read()
			}
		}
		if len(all) == 0 {
			return nil
		}
		s.addSums(all)
		same := true
		for w, r := range all {
			same = s.ledger.sheet(w).confirm(r) && same
		}
		if same {
			break
		}
	}
	return all
}

// read copies the leaves that are known.
func (sh *sheet) read() *reading {
	r := &reading{}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range sh.groups {
		g := sh.groups[i].Load()
		if g == nil {
			continue
		}
		r.settled[i] = new([groupSize]uint32)
		for j := range g {
			if f := &g[j]; f.state.Load() == known {
				p := uint16(i*groupSize + j)
				r.parts.Add(p)
				*r.at(p), r.settled[i][j] = f.sum, f.settled
			}
		}
	}
	return r
}

// confirm drops the leaves that are unknown by now, or that a sum was added to since read: it may be counted twice, or not at all. It reports
// whether there was none.
func (sh *sheet) confirm(r *reading) bool {
	if sh == nil { // the ledger was reset
		r.parts = shard.Set{}
		return false
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	same := true
	for p := range r.parts.Partitions() {
		f := sh.leaf(p)
		if f.state.Load() != known || f.settled != r.settled[p/groupSize][p%groupSize] {
			r.parts.Remove(p)
			same = false
		}
	}
	return same
}

// addSums adds what the registry has of some windows.
func (s *Store) addSums(all map[int64]*reading) {
	add := func(partition uint16, window int64, sum series.Digest) {
		if r := all[window]; r != nil {
			r.live = true
			if r.parts.Has(partition) {
				r.add(partition, sum)
			}
		}
	}
	s.gate.RLock()
	registry := s.active.registry
	s.gate.RUnlock()
	for ref := head.Ref(1); ref != 0; {
		s.gate.RLock()
		if s.active.registry != registry { // and the ledger was reset
			ref = 0
		} else {
			ref = s.active.Sums(ref, add)
		}
		s.gate.RUnlock()
	}
}
