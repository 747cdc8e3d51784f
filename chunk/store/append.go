package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// Append stores a batch. When it returns nil, everything that is not counted in
// b.Rejected is durable (with an interval set for the log: given to the operating
// system) and visible. An error means that nothing may be acknowledged: [series.ErrUnavailable] when
// the log cannot be written, [series.ErrOverload] when memory is full and the disk does
// not keep up, [series.ErrUnknownSeries] when a series without a key is not active.
func (s *Store) Append(ctx context.Context, b *series.Batch) error {
	p, err := s.begin(ctx, b)
	if err != nil {
		return err
	}
	return s.await(p)
}

// begun is what is in memory, and has a place in the log.
type begun struct {
	pos     wal.Position // 0 when there was nothing to log
	samples int
}

// begin is Append without waiting for the log.
func (s *Store) begin(ctx context.Context, b *series.Batch) (begun, error) {
	if err := s.mend(); err != nil {
		return begun{}, fmt.Errorf("append: %w", err)
	}
	if err := s.awaitRoom(ctx); err != nil {
		return begun{}, err
	}
	w := works.Get().(*work)
	defer works.Put(w)
	s.gate.RLock()
	pos, err := s.put(b, w)
	full := s.active.full(s.o)
	s.gate.RUnlock()
	if full {
		signal(s.full)
	}
	if err != nil {
		return begun{}, fmt.Errorf("append: %w", err)
	}
	return begun{pos, w.samples}, nil
}

// await returns when what begin has begun is durable.
func (s *Store) await(p begun) error {
	if p.pos == 0 {
		return nil
	}
	if err := s.wal.Sync(p.pos); err != nil {
		s.broken.Store(true)
		s.m.failed.Inc()
		return fmt.Errorf("append: %w: %w", series.ErrUnavailable, err)
	}
	s.m.samples.Add(float64(p.samples))
	return nil
}

// work is the memory of one Append.
type work struct {
	ids     []series.ID
	refs    []head.Ref
	keys    [][]byte
	newIDs  []series.ID
	newRefs []head.Ref
	newAt   []int
	rec     []byte
	enc     wal.SampleEncoder
	samples int
}

var works = sync.Pool{New: func() any { return new(work) }}

// resize returns a slice of n elements, whose values are left over from before.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// put gives a batch to the log and to the memtable. The caller holds gate for
// reading, and syncs the returned position.
func (s *Store) put(b *series.Batch, w *work) (wal.Position, error) {
	if err := s.resolve(b, w); err != nil {
		return 0, err
	}
	b.RejectLarge()
	if err := s.logKeys(b, w); err != nil {
		return 0, err
	}
	pos, err := s.logSamples(b, w)
	if err != nil {
		return 0, err
	}
	s.active.Append(b, w.refs)
	for _, h := range b.Histograms {
		if b.Series[h.Series].Bad {
			continue
		}
		if err := s.active.AppendHistogram(w.refs[h.Series], h); err != nil {
			return 0, err
		}
	}
	for _, e := range b.Exemplars {
		if !b.Series[e.Series].Bad {
			s.exemplars.add(s.active.registry, w.refs[e.Series], e.Exemplar)
		}
	}
	return pos, nil
}

// resolve finds the ref of every series of a batch, and registers the new ones.
// What cannot be a series is rejected.
func (s *Store) resolve(b *series.Batch, w *work) error {
	n := len(b.Series)
	w.refs = resize(w.refs, n)
	ids := b.IDs
	if len(ids) == 0 {
		w.ids = resize(w.ids, n)
		ids = w.ids
		for i := range b.Series {
			ids[i] = series.HashKey(b.Series[i].Key)
		}
	}
	if s.active.registry.Lookup(ids, w.refs) == 0 {
		return nil
	}
	for i, ref := range w.refs {
		if ref == 0 && b.Series[i].Key == nil && len(b.IDs) > 0 {
			return fmt.Errorf("series %d, %s: %w", i+1, ids[i], series.ErrUnknownSeries)
		}
	}
	w.keys, w.newIDs, w.newAt = w.keys[:0], w.newIDs[:0], w.newAt[:0]
	for i, ref := range w.refs {
		if ref != 0 || b.Series[i].Bad {
			continue
		}
		key, id := b.Series[i].Key, ids[i]
		canonical, err := series.CheckKey(key, s.o.Limits)
		if err != nil {
			s.reject(b, i, err)
			continue
		}
		if !canonical {
			loose := key
			key = nil
			if err := series.EachLabel(loose, func(name, value string) { key = series.AppendLabel(key, name, value) }); err != nil {
				return err
			}
			id = series.HashKey(key)
		}
		w.keys, w.newIDs, w.newAt = append(w.keys, key), append(w.newIDs, id), append(w.newAt, i)
	}
	w.newRefs = resize(w.newRefs, len(w.keys))
	if err := s.active.registry.Register(w.keys, w.newIDs, w.newRefs, s.o.MaxSeries); err != nil {
		return err
	}
	full := fmt.Errorf("the node has %d active series, as many as it may: see --max-series", s.o.MaxSeries) // another node says it of each that is refused
	for j, i := range w.newAt {
		if w.refs[i] = w.newRefs[j]; w.refs[i] == 0 {
			s.refused.Store(true)
			b.Reject(i, "max_series", fmt.Errorf("%s is new, and %w", series.KeyText(b.Series[i].Key), full))
		}
	}
	clear(w.keys) // they belong to the caller
	return nil
}

func (s *Store) reject(b *series.Batch, i int, err error) {
	reason := "labels"
	var le *series.LabelError
	if errors.As(err, &le) {
		reason = le.Reason
	}
	b.Reject(i, reason, fmt.Errorf("series %d: %w", b.Number(i), err))
}

// awaitRoom waits while the active memtable is more than full because the one before
// it is still being written out.
func (s *Store) awaitRoom(ctx context.Context) error {
	s.gate.RLock()
	over := s.active.Bytes() >= s.o.mostBytes()
	s.gate.RUnlock()
	if !over {
		return nil
	}
	s.m.stalls.Inc()
	signal(s.full)
	stop := context.AfterFunc(ctx, func() {
		s.viewMu.Lock()
		defer s.viewMu.Unlock()
		s.room.Broadcast()
	})
	defer stop()
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	for s.tables[0].Bytes() >= s.o.mostBytes() {
		if s.stuck.Load() {
			return fmt.Errorf("append: %w: recent samples fill the memory and cannot be written to disk", series.ErrUnavailable)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("append: %w: recent samples fill the memory and are still being written to disk", series.ErrOverload)
		}
		s.room.Wait()
	}
	return nil
}
