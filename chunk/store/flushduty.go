package store

import (
	"context"
	"fmt"
)

// flushInTime flushes them so that it is over long before memory is full again.
func (s *Store) flushInTime(ctx context.Context) error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if s.waiting() == 0 && s.undropped > 0 { // what is carried over needs a log
		if err := s.mend(); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	return s.flushFrozen(ctx)
}

// flushRest returns what a flush calls again and again to rest.
func (s *Store) flushRest(ctx context.Context) func() {
	cycle := s.o.cycle
	return func() { cycle.Rest(ctx, s.flushDuty()) }
}

// lockFlush takes flushMu and makes haste, also of a flush that is under way, until the returned function is called.
func (s *Store) lockFlush() (unlock func()) {
	s.haste.Add(1)
	s.flushMu.Lock()
	return func() {
		s.flushMu.Unlock()
		s.haste.Add(-1)
	}
}

// hasteAt is how full, as a part, the active memtable is when flushing the one before takes all the time that it can get.
const hasteAt = 0.25

// flushDuty is the part of its time that a flush works: the least where little is written, for it has hours then, and more and more as the active
// memtable fills up. Replicas get the same writes, and their memtables are full at the same moment.
func (s *Store) flushDuty() float64 {
	if s.haste.Load() > 0 {
		return 1
	}
	s.gate.RLock()
	filled := float64(s.active.Bytes()) / float64(s.o.MemtableBytes)
	s.gate.RUnlock()
	return min(1, s.o.FlushDuty+(1-s.o.FlushDuty)*filled/hasteAt)
}
