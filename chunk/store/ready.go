package store

import (
	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// sheetDigests are the digests of some partitions in a window.
type sheetDigests struct {
	parts shard.Set
	sums  [shard.Partitions]series.Digest
	live  bool // the registry has sums of the window: more may come
}

// ready returns what the ledger knows of some windows.
func (s *Store) ready(windows map[int64]*found) map[int64]*sheetDigests {
	all := map[int64]*sheetDigests{}
	for range 3 { // a series may go on in the next window meanwhile
		before := map[int64]*[shard.Partitions]uint32{}
		for w := range windows {
			if sh := s.ledger.sheet(w); sh != nil {
				all[w] = &sheetDigests{}
				before[w] = sh.read(all[w])
			}
		}
		if len(all) == 0 {
			return nil
		}
		s.addSums(all)
		same := true
		for w, settled := range before {
			same = s.ledger.sheet(w).confirm(all[w], settled) && same
		}
		if same {
			break
		}
	}
	return all
}

// read copies the leaves that are known, and returns how often sums were added to them.
func (sh *sheet) read(d *sheetDigests) *[shard.Partitions]uint32 {
	settled := new([shard.Partitions]uint32)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for p := range sh.leaves {
		f := &sh.leaves[p]
		if f.state.Load() == known {
			d.parts.Add(uint16(p))
			d.sums[p] = f.sum
		}
		settled[p] = f.settled
	}
	return settled
}

// confirm drops the leaves that are unknown by now, or that a sum was added to since read: it may be counted twice, or not at all. It reports
// whether there was none.
func (sh *sheet) confirm(d *sheetDigests, settled *[shard.Partitions]uint32) bool {
	if sh == nil {
		d.parts = shard.Set{}
		return false
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	same := true
	for p := range sh.leaves {
		f := &sh.leaves[p]
		if d.parts.Has(uint16(p)) && (f.state.Load() != known || f.settled != settled[p]) {
			d.parts.Remove(uint16(p))
			same = false
		}
	}
	return same
}

// addSums adds what the registry has of some windows.
func (s *Store) addSums(all map[int64]*sheetDigests) {
	add := func(partition uint16, window int64, sum series.Digest) {
		if d := all[window]; d != nil {
			d.sums[partition], d.live = d.sums[partition].Plus(sum), true
		}
	}
	s.gate.RLock()
	r := s.active.registry
	s.gate.RUnlock()
	for ref := head.Ref(1); ref != 0; {
		s.gate.RLock()
		if s.active.registry != r { // and the ledger was reset
			ref = 0
		} else {
			ref = s.active.Sums(ref, add)
		}
		s.gate.RUnlock()
	}
}
