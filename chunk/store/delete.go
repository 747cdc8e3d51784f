package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/shard"
)

// Delete deletes the samples in [mint, maxt] (ms, inclusive) of the series that the matchers select, and returns how many
// series had any there, in each of the blocks they lie in. When it returns nil they are gone from every answer, also after a crash;
// compaction removes them from the files. What is appended from now on is not concerned, whatever its time.
//
// Everything in memory is flushed first, and its log dropped: so that what exists lies in blocks, and a tombstone
// needs to be held against these only.
func (s *Store) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (series int, err error) {
	return s.deleteOnce(ctx, "", mint, maxt, ms)
}

// DeleteOnce is Delete for one who may ask again, also after a restart: a delete with an id that was done before, and was not
// forgotten since, does nothing. That it was done is durable when what it did is.
func (s *Store) DeleteOnce(ctx context.Context, id string, mint, maxt int64, ms ...*labels.Matcher) (series int, err error) {
	if id == "" {
		return 0, errors.New("delete: it needs an id to be done once")
	}
	return s.deleteOnce(ctx, id, mint, maxt, ms)
}

// ForgetDeletes forgets the ids of deletes that were done before a time (Unix ms), which nobody will ask for again.
func (s *Store) ForgetDeletes(before int64) error {
	s.tombMu.Lock()
	defer s.tombMu.Unlock()
	next := s.tombs
	next.Applied = slices.DeleteFunc(slices.Clone(next.Applied), func(a applied) bool { return a.Time < before })
	if len(next.Applied) == len(s.tombs.Applied) {
		return nil
	}
	if err := s.setTombs(next, nil); err != nil {
		return fmt.Errorf("forget deletes: %w", err)
	}
	return nil
}

// done reports whether there was a delete with an id.
func (s *Store) done(id string) bool {
	s.tombMu.Lock()
	defer s.tombMu.Unlock()
	return slices.ContainsFunc(s.tombs.Applied, func(a applied) bool { return a.ID == id })
}

// deleteOnce deletes, whatever was done before if id is empty.
func (s *Store) deleteOnce(ctx context.Context, id string, mint, maxt int64, ms []*labels.Matcher) (series int, err error) {
	if len(ms) == 0 || mint > maxt {
		return 0, errors.New("delete: it needs matchers, and a time range that is not empty")
	}
	defer s.lockFlush()()       // no block is made of samples from before that does not know of the tombstone
	if id != "" && s.done(id) { // flushMu: nobody else is doing it
		return 0, nil
	}
	s.lessExemplars = s.exemplars.delete(mint, maxt, ms) > 0 || s.lessExemplars
	if err := s.flushMemory(ctx, s.lessExemplars); err != nil {
		return 0, fmt.Errorf("delete: %w", err)
	}
	s.lessExemplars = false
	for {
		series, err = s.bury(ctx, id, mint, maxt, ms)
		if err == nil {
			break
		}
		if !s.met(err) {
			return 0, fmt.Errorf("delete: %w", err)
		}
	}
	s.m.deletes.Inc()
	s.o.Logger.Info("deleted", "matchers", fmt.Sprint(ms), "series", series)
	signal(s.merge)
	return series, nil
}

// bury makes a tombstone, unless nothing lies under it, nor would of a block that was set aside, and notes the id if there is one.
func (s *Store) bury(ctx context.Context, id string, mint, maxt int64, ms []*labels.Matcher) (series int, err error) {
	s.tombMu.Lock()
	defer s.tombMu.Unlock()
	t := tombstone{Seq: s.tombs.Seq + 1, MinTime: mint, MaxTime: maxt, ms: ms}
	for _, m := range ms {
		t.Matchers = append(t.Matchers, matcher{m.Type.String(), m.Name, m.Value})
	}
	v := s.view()
	defer v.close()
	masks := maps.Clone(v.masks)
	var hit shard.Set // the partitions of the series
	for _, b := range slices.Concat(v.blocks, v.coarse) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		more, err := maskOf(b, []tombstone{t})
		if err != nil {
			return 0, err
		}
		for _, h := range more {
			n, err := h.count(b, &hit)
			if err != nil {
				return 0, err
			}
			series += n
		}
		if len(more) > 0 {
			masks[b] = append(slices.Clip(masks[b]), more...)
		}
	}
	aside, err := s.lyingAside()
	if err != nil {
		return 0, err
	}
	next, hides := s.tombs, series > 0 || t.mayHide(aside)
	if hides {
		next.Seq, next.Tombstones = t.Seq, append(slices.Clip(next.Tombstones), t)
	}
	if id != "" {
		next.Applied = append(slices.Clip(next.Applied), applied{id, s.o.Now().UnixMilli()})
	} else if !hides {
		return 0, nil
	}
	if err := s.setTombs(next, masks); err != nil {
		return 0, err
	}
	s.ledger.forget(mint, maxt, &hit)
	return series, nil
}

// count returns of how many series of a block something is hidden, and adds their partitions to a set.
func (h *hidden) count(b *block.Block, partitions *shard.Set) (int, error) {
	if h.ords == nil {
		partitions.Union(shard.All())
		return int(b.Meta().Series), nil
	}
	for _, ord := range h.ords {
		p, err := b.Partition(ord)
		if err != nil {
			return 0, err
		}
		partitions.Add(p)
	}
	return len(h.ords), nil
}

// seq is the number of the latest delete.
func (s *Store) seq() uint64 {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	return s.tombs.Seq
}

// loadTombstones reads the tombstones and holds them against the blocks, which are open.
func (s *Store) loadTombstones() error {
	f, err := readTombstones(s.dir)
	if err != nil {
		return err
	}
	s.tombs, s.masks = *f, map[*block.Block]mask{}
	for _, b := range slices.Concat(s.blocks, s.coarse) {
		m, err := maskOf(b, f.Tombstones)
		if s.met(err) {
			return s.loadTombstones() // of what is left, opened anew perhaps
		}
		if err != nil {
			return err
		}
		if len(m) > 0 {
			s.masks[b] = m
		}
		s.tombs.Seq = max(s.tombs.Seq, b.Meta().Seq) // whatever became of the file
	}
	return nil
}

// forgetTombstones drops tombstones that hide nothing any more, nor would of a block that was set aside and is put back.
func (s *Store) forgetTombstones() error {
	s.tombMu.Lock()
	defer s.tombMu.Unlock()
	s.viewMu.Lock()
	needed := map[uint64]bool{}
	for _, m := range s.masks {
		for _, h := range m {
			needed[h.seq] = true
		}
	}
	s.viewMu.Unlock()
	aside, err := s.lyingAside()
	if err != nil {
		return fmt.Errorf("forget deletes: %w", err)
	}
	next := s.tombs
	next.Tombstones = slices.DeleteFunc(slices.Clone(next.Tombstones), func(t tombstone) bool { return !needed[t.Seq] && !t.mayHide(aside) })
	if len(next.Tombstones) == len(s.tombs.Tombstones) {
		return nil
	}
	if left, err := s.blocksLeft(); left || err != nil {
		return err
	}
	return s.setTombs(next, nil)
}

// blocksLeft reports whether there may be blocks on the disk that are not in the view: some that could not be removed, which the next start
// opens.
func (s *Store) blocksLeft() (bool, error) {
	if err := s.o.FS.SyncDir(s.blocksDir()); err != nil {
		return false, fmt.Errorf("forget deletes: %w", err)
	}
	ids, err := block.List(s.blocksDir())
	if err != nil {
		return false, fmt.Errorf("forget deletes: %w", err)
	}
	metas := s.metas()
	return slices.ContainsFunc(ids, func(id ulid.ULID) bool {
		return !slices.ContainsFunc(metas, func(m block.Meta) bool { return m.ULID == id })
	}), nil
}

// setTombs makes tombstones durable, and then those that count, with what they hide unless masks is nil. The caller holds tombMu.
func (s *Store) setTombs(next tombstoneFile, masks map[*block.Block]mask) error {
	s.unsure = true
	if err := next.write(s.o.FS, s.dir); err != nil {
		return err
	}
	s.unsure = false
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	s.tombs = next
	if masks != nil {
		s.masks = masks
	}
	return nil
}

// beSure sees to it that the tombstones on disk are those that count, before a block is made: a delete that failed may have left one
// there that would hide, after the next start, what was appended later.
func (s *Store) beSure() error {
	s.tombMu.Lock()
	defer s.tombMu.Unlock()
	if !s.unsure {
		return nil
	}
	return s.setTombs(s.tombs, nil)
}

// deletedOf is deleted for a compaction.
func (v *view) deletedOf(b *block.Block, ord uint32) []chunk.Interval { return v.deleted(part{b, ord}) }

// deleted returns what is hidden of a part of a series.
func (v *view) deleted(p part) []chunk.Interval {
	if len(v.masks) == 0 {
		return nil
	}
	return v.masks[p.block].of(p.ord)
}

func touched(gone []chunk.Interval, mint, maxt int64) bool {
	return slices.ContainsFunc(gone, func(i chunk.Interval) bool { return i.Min <= maxt && i.Max >= mint })
}

// appendLeft appends what is left of a row to dst.
func appendLeft(dst []chunk.Chunk, b *block.Block, r block.Row, gone []chunk.Interval) ([]chunk.Chunk, error) {
	c := chunk.Chunk{Stats: r.Stats}
	if left, err := chunk.Without(nil, c, gone); err == nil && len(left) == 0 {
		return dst, nil // all of it, which needs no data to see
	}
	c, err := b.Chunk(r)
	if err != nil {
		return nil, err
	}
	return chunk.Without(dst, c, gone)
}
