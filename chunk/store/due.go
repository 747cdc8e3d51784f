package store

import (
	"time"

	"github.com/zeebo/xxh3"
)

// maxLog is how long the log of one memtable gets: samples that are sent again take no memory, but room here.
const maxLog = 1 << 30

// firstLeast is the least part of MemtableBytes and of FlushAge at which a memtable is full or old that is out of step.
const firstLeast = 0.5

// outOfStep makes the active memtable full and old earlier than Options say, by a part that depends on the node, where those of replicas may have begun with it: at
// the start, and when a flush was asked for. Replicas get the same writes, and would flush at the same moment from then on. The
// caller holds gate for writing, or is alone.
func (s *Store) outOfStep() {
	if s.o.Node == "" {
		return
	}
	h := xxh3.HashStringSeed(s.o.Node, s.outs)
	s.outs++
	s.active.part = firstLeast + (1-firstLeast)*float64(h>>11)/(1<<53)
}

// full reports whether a memtable has as much as it may. The caller holds gate.
func (t *table) full(o Options) bool { return float64(t.Bytes()) >= t.part*float64(o.MemtableBytes) }

func (t *table) old(o Options, age time.Duration) bool {
	return float64(age) >= t.part*float64(o.FlushAge)
}

func (s *Store) freezeIfDue() error {
	if !s.due() {
		return nil
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	return s.exchange()
}

// due reports whether the active memtable is full, old, or has a long log, and the one
// before it is flushed: else memory would grow with every memtable that waits for a disk.
func (s *Store) due() bool {
	s.gate.RLock()
	defer s.gate.RUnlock()
	now := s.o.Now()
	waits := s.waiting() > 0
	must := !waits && (s.wal.Size() >= maxLog || s.idleShouldGo(now)) // metadata, exemplars and series without samples, too
	if s.active.Samples() == 0 {
		s.active.born.Store(now.UnixNano())
		return must
	}
	age := time.Duration(now.UnixNano() - s.active.born.Load())
	if age < 0 { // the clock was ahead
		s.active.born.Store(now.UnixNano())
	}
	return must || !waits && (s.active.full(s.o) || s.active.old(s.o, age))
}

// manySeries is how many a registry may have before those that are idle go earlier than memtables are flushed anyway.
const manySeries = 2 << 20

// idleShouldGo reports whether series are so many that those that are idle should not wait for the memtable to be full
// or old. Counting them takes a while, so it looks once a minute.
func (s *Store) idleShouldGo(now time.Time) bool {
	if s.active.registry.Count() < manySeries && !s.refused.Load() || now.Sub(s.looked) < time.Minute {
		return false
	}
	s.looked = now
	s.refused.Store(false)
	return s.active.crowded()
}
