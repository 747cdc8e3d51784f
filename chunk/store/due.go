package store

import "time"

// maxLog is how long the log of one memtable gets: samples that are sent again take no memory, but room here.
const maxLog = 1 << 30

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
	if s.active.Samples() == 0 {
		s.active.born.Store(now.UnixNano())
		return false
	}
	age := time.Duration(now.UnixNano() - s.active.born.Load())
	if age < 0 { // the clock was ahead
		s.active.born.Store(now.UnixNano())
	}
	s.viewMu.Lock()
	waits := len(s.tables) > 1
	s.viewMu.Unlock()
	return !waits && (s.active.Bytes() >= s.o.MemtableBytes || age >= s.o.FlushAge || s.wal.Size() >= maxLog || s.idleShouldGo(now))
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
