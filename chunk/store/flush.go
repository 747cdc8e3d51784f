package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/head"
)

// runFlush freezes the active memtable when its time has come, and flushes frozen ones.
func (s *Store) runFlush(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.full:
		case <-tick.C:
		}
		if err := s.freezeIfDue(); err != nil {
			s.o.Logger.Error("the memtable could not be frozen", "err", err)
			continue
		}
		err := s.flushInTime(ctx)
		s.stick(err != nil)
		if err != nil && ctx.Err() == nil {
			s.m.flushErrors.Inc()
			s.o.Logger.Error("recent samples could not be written to a block; they are safe in the log, and the next try is in some seconds", "err", err)
			duty.Sleep(ctx, 5*time.Second)
		}
	}
}

// stick notes whether flushing works, and tells those who wait for room.
func (s *Store) stick(stuck bool) {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	s.stuck.Store(stuck)
	s.room.Broadcast()
}

// Flush writes everything in memory to blocks.
func (s *Store) Flush(ctx context.Context) error {
	defer s.lockFlush()()
	return s.flushMemory(ctx, false)
}

// flushMemory freezes the active memtable, as freeze does, and flushes it for one who holds flushMu. Where that fails again and again, those that
// wait go first.
func (s *Store) flushMemory(ctx context.Context, always bool) error {
	if s.waiting() >= mostWaiting {
		if err := s.flushFrozen(ctx); err != nil {
			return err
		}
	}
	err := s.mend()
	if err == nil {
		err = s.freeze(always)
	}
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return s.flushFrozen(ctx)
}

// flushAll flushes the frozen memtables, oldest first, for one who waits for it.
func (s *Store) flushAll(ctx context.Context) error {
	defer s.lockFlush()()
	return s.flushFrozen(ctx)
}

// flushFrozen is flushAll for one who holds flushMu.
func (s *Store) flushFrozen(ctx context.Context) error {
	for {
		s.viewMu.Lock()
		n := len(s.tables)
		t := s.tables[n-1]
		s.viewMu.Unlock()
		if n == 1 {
			return s.dropLog(s.flushRest(ctx))
		}
		if err := s.flush(ctx, t); err != nil {
			return err
		}
	}
}

// flush writes a frozen memtable as blocks, puts them in its place, and drops its log.
func (s *Store) flush(ctx context.Context, t *table) error {
	start := s.o.Now()
	rest := s.flushRest(ctx)
	if err := s.beSure(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	var made []*block.Block
	origin := block.Origin{Generation: 1, Seq: s.seq()}
	for _, m := range s.metas() {
		origin.Generation = max(origin.Generation, m.Generation+1)
	}
	for _, r := range ranges(t.Memtable) {
		b, err := s.writeBlock(ctx, t, r, origin, rest)
		if err != nil {
			for _, b := range made {
				b.Release()
				err = errors.Join(err, block.Remove(s.o.FS, s.blockDir(b.Meta().ULID)))
			}
			return fmt.Errorf("flush: %w", err)
		}
		if b != nil {
			made = append(made, b)
		}
	}
	s.viewMu.Lock()
	s.tables = slices.DeleteFunc(s.tables, func(o *table) bool { return o == t })
	s.blocks = append(s.blocks, made...)
	s.room.Broadcast()
	s.viewMu.Unlock()
	s.undropped = t.end
	s.m.flush.Observe(s.o.Now().Sub(start).Seconds())
	s.o.Logger.Info("flushed", "samples", t.Samples(), "blocks", len(made), "duration", s.o.Now().Sub(start))
	t.release()
	signal(s.merge)
	return s.dropLog(rest)
}

// dropLog drops the log of flushed memtables. Until it is gone, the next start would bring back what is deleted meanwhile.
func (s *Store) dropLog(rest func()) error {
	if s.undropped == 0 {
		return nil
	}
	s.gate.RLock()
	err := s.carry()
	s.gate.RUnlock()
	if err == nil {
		if err = s.wal.SyncAll(); err != nil { // whatever the log's interval: what was carried goes with the old segments
			s.broken.Store(true)
		}
	}
	if err == nil {
		err = s.wal.Drop(s.undropped, rest)
	}
	if err != nil {
		return fmt.Errorf("drop the flushed log: %w", err)
	}
	s.undropped = 0
	return nil
}

// span is a range of windows, both ends inclusive.
type span struct{ first, last int64 }

// recentWindows is how many of the last windows of a memtable become blocks of their
// own; what is older goes into at most oldBlocks, each of an aligned range of 1, 4, 16 … windows, as they are merged: a
// backfill must not leave a block for every two hours that it goes through.
const (
	recentWindows = 2
	oldBlocks     = 4
)

// ranges cuts a memtable's time into the ranges of its blocks.
func ranges(t *head.Memtable) (out []span) {
	windows := t.Windows()
	if len(windows) == 0 {
		return nil
	}
	recent := windows[len(windows)-1] - recentWindows + 1
	n, _ := slices.BinarySearch(windows, recent)
	old := windows[:n]
	for step := int64(1); ; step *= 4 {
		out = out[:0]
		for _, w := range old {
			if len(out) > 0 && w <= out[len(out)-1].last {
				continue
			}
			first := w - (w%step+step)%step
			out = append(out, span{max(first, old[0]), min(first+step, recent) - 1})
		}
		if len(out) <= oldBlocks {
			break
		}
	}
	for _, w := range windows[n:] {
		out = append(out, span{w, w})
	}
	return out
}

func (s *Store) blockDir(id ulid.ULID) string { return blockPath(s.blocksDir(), id) }

// writeBlock writes the samples of a range as a block and opens it. It returns nil if there are none.
func (s *Store) writeBlock(ctx context.Context, t *table, r span, origin block.Origin, rest func()) (_ *block.Block, err error) {
	var w *block.Writer
	defer func() {
		if err != nil && w != nil {
			err = errors.Join(err, w.Abort())
		}
	}()
	var sb labels.ScratchBuilder
	var found, chunks []chunk.Chunk
	mint, _ := chunk.WindowBounds(r.first)
	_, maxt := chunk.WindowBounds(r.last)
	cut := chunk.Rewriter{Window: (r.last - r.first + 1) * chunk.Span}
	for i, ref := range t.registry.Sorted(rest) {
		if i%8 == 0 {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			rest()
		}
		if found, err = t.Chunks(found[:0], ref, mint, maxt); err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		if chunks, err = cut.Append(chunks[:0], found); err != nil {
			return nil, err
		}
		if w == nil {
			if w, err = block.Create(s.blocksDir(), block.WriterOptions{FS: s.o.FS, Rest: rest}); err != nil {
				return nil, err
			}
		}
		ls := t.registry.Labels(ref, &sb)
		err = w.Append(block.Series{Partition: t.registry.Partition(ref), Labels: ls}, chunks)
		if err != nil {
			return nil, err
		}
	}
	if w == nil {
		return nil, nil
	}
	meta, err := w.Commit(origin)
	if err != nil {
		return nil, err
	}
	w = nil
	b, err := s.openMade(meta.ULID)
	if err != nil {
		return nil, err
	}
	if err := s.digest(duty.Resting(ctx, rest), b); err != nil {
		b.Release()
		return nil, errors.Join(err, block.Remove(s.o.FS, b.Dir()))
	}
	return b, nil
}
