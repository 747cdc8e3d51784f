package store

import (
	"fmt"
	"slices"

	"github.com/minitrue/minitrue/chunk/series"
)

// exchange begins a new memtable and a new log segment, and a new registry when many series are idle: those that
// are not register again as their samples come. The caller holds gate for writing.
func (s *Store) exchange() error {
	end, err := s.wal.Rotate()
	if err != nil {
		s.broken.Store(true)
		return fmt.Errorf("%w: %w", series.ErrUnavailable, err)
	}
	old := s.active
	old.end = end
	if old.crowded() {
		s.active = newTable(s.newRegistry(), s.o.Now())
		s.ledger.reset()
	} else {
		s.active = newTable(old.registry.Retain(), s.o.Now())
	}
	s.active.failures = s.wal.Failures()
	s.viewMu.Lock()
	s.tables = slices.Insert(s.tables, 0, s.active)
	s.room.Broadcast()
	s.viewMu.Unlock()
	return nil
}

// mostWaiting is how many frozen memtables may wait to be flushed. A full disk that has room for the beginning of a log segment would have one more
// for each write that is tried.
const mostWaiting = 4

// waiting is how many frozen memtables there are.
func (s *Store) waiting() int {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	return len(s.tables) - 1
}

// mend makes the store writable again after the log failed, if the disk allows it. The
// new memtable does not rely on anything that the log may have lost.
func (s *Store) mend() error {
	if !s.broken.Load() {
		return nil
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	if !s.broken.Load() {
		return nil
	}
	if n := s.waiting(); n >= mostWaiting {
		signal(s.full)
		return fmt.Errorf("%w: the log fails again and again, and %d memtables wait to be written to disk", series.ErrUnavailable, n)
	}
	if err := s.exchange(); err != nil {
		return err
	}
	s.broken.Store(false)
	s.o.Logger.Info("the log can be written again")
	signal(s.full)
	return nil
}

// freeze freezes the active memtable if there is anything in it, or if its log is to go whatever is in it.
func (s *Store) freeze(always bool) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.active.Samples() == 0 && !always {
		return nil
	}
	if err := s.exchange(); err != nil {
		return err
	}
	s.outOfStep() // all nodes may have been asked
	return nil
}
