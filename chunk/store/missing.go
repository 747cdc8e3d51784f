package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// AppendMissing is Append for what another node has, much of which is here as well: it leaves out of b the float samples that memory has
// already. They would change nothing, but each would lie there again as one that came late, which every reader merges, and make
// the digest of its partition unknown, which is then worked out by reading. Nobody waits for it as for a write, so it rests between parts of b.
func (s *Store) AppendMissing(ctx context.Context, b *series.Batch) error {
	if s.broken.Load() { // what memory has may have gone with the log: Append mends that
		return s.Append(ctx, b)
	}
	failures := s.wal.Failures()
	if err := s.appendMissing(ctx, b, failures); err != nil {
		return err
	}
	if s.wal.Failures() != failures { // what was left out may have gone with the log in between
		return fmt.Errorf("append: %w: %w", series.ErrUnavailable, wal.ErrLost)
	}
	return nil
}

// appendMissing is AppendMissing as long as no more writes of the log fail than did.
func (s *Store) appendMissing(ctx context.Context, b *series.Batch, failures uint64) error {
	all := len(b.Samples)
	cycle := s.o.cycle
	if err := s.leaveOut(ctx, b, failures, &cycle); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if len(b.Samples) < all && len(b.Samples)+len(b.Histograms)+len(b.Exemplars)+len(b.Metadata) == 0 {
		// Whoever wrote what is here may still wait for the disk. Where something is left, to wait for that is enough: it is behind in the log.
		if err := s.wal.SyncAll(); err != nil {
			s.broken.Store(true)
			s.m.failed.Inc()
			return fmt.Errorf("append: %w: %w", series.ErrUnavailable, err)
		}
		return nil
	}
	if len(b.Histograms)+len(b.Exemplars)+len(b.Metadata) > 0 {
		return s.Append(ctx, b)
	}
	return s.appendInParts(ctx, b, &cycle)
}

const (
	missingDuty = 0.25 // the part of its time that AppendMissing works
	partSamples = 512  // between two rests, or those of one series
)

// appendInParts is Append of float samples that rests between parts of the batch. All parts are synced at once.
func (s *Store) appendInParts(ctx context.Context, b *series.Batch, cycle *duty.Cycle) error {
	all := b.Series
	defer func() { b.Series = all }()
	var parts []begun
	for rest := all; len(rest) > 0; {
		n := 0
		for samples := 0; n < len(rest) && samples < partSamples; n++ {
			samples += rest[n].Count
		}
		b.Series, rest = rest[:n], rest[n:]
		p, err := s.begin(ctx, b)
		if err != nil {
			return err
		}
		parts = append(parts, p)
		cycle.Rest(ctx, missingDuty)
	}
	for _, p := range parts { // each: the log may have failed in between, and have been mended
		if err := s.await(p); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut removes from a batch the samples that memory has and the log, of which so many writes have failed, has as well, and series of
// which nothing is left.
func (s *Store) leaveOut(ctx context.Context, b *series.Batch, failures uint64, cycle *duty.Cycle) error {
	end := 0
	for _, e := range b.Series {
		if e.First < end {
			return nil // samples could be written over before they are read
		}
		end = e.First + e.Count
	}
	v := s.view()
	defer v.close()
	m := missing{}
	for _, t := range v.tables { // from new to old: each ends where the one before it begins
		if t.failures == failures {
			m.tables = append(m.tables, t)
		}
		failures = t.failures
	}
	kept := b.Samples[:0]
	for i := range b.Series {
		cycle.Rest(ctx, missingDuty)
		e := &b.Series[i]
		xs := b.Samples[e.First : e.First+e.Count]
		here, err := m.here(series.HashKey(e.Key), xs)
		if err != nil {
			return err
		}
		first := len(kept)
		for j, x := range xs {
			if !here[j] {
				kept = append(kept, x)
			}
		}
		e.First, e.Count = first, len(kept)-first
	}
	b.Samples = kept
	if len(b.Histograms)+len(b.Exemplars) == 0 { // which say by its place what series is theirs
		b.IDs = b.IDs[:0]
		b.Series = slices.DeleteFunc(b.Series, func(e series.Entry) bool { return e.Count == 0 })
	}
	return nil
}

// missing looks up in memory what samples it has.
type missing struct {
	tables []*table
	found  []bool
	chunks []chunk.Chunk
	buf    []byte
	it     chunkenc.Iterator
}

// here says of each of some samples of a series whether memory has it, bit for bit. Samples that are not in the order of time it knows
// nothing of. What it returns is good until the next call.
func (m *missing) here(id series.ID, xs []series.Sample) ([]bool, error) {
	m.found = resize(m.found, len(xs))
	clear(m.found)
	byTime := func(a, b series.Sample) int { return cmp.Compare(a.T, b.T) }
	if len(xs) == 0 || !slices.IsSortedFunc(xs, byTime) {
		return m.found, nil
	}
	m.chunks, m.buf = m.chunks[:0], m.buf[:0]
	for _, t := range m.tables {
		ref := t.registry.Ref(id)
		if ref == 0 {
			continue
		}
		var err error
		if m.chunks, err = t.Scan(m.chunks, &m.buf, ref, xs[0].T, xs[len(xs)-1].T, nil); err != nil {
			return nil, err
		}
	}
	for _, c := range m.chunks {
		if err := m.mark(c, xs); err != nil {
			return nil, fmt.Errorf("series %s: %w", id, err)
		}
	}
	return m.found, nil
}

// mark marks the samples that a chunk has.
func (m *missing) mark(c chunk.Chunk, xs []series.Sample) (err error) {
	if c.Encoding != chunk.XOR {
		return nil
	}
	if m.it, err = c.Iterator(m.it); err != nil {
		return err
	}
	i := 0
	for m.it.Next() != chunkenc.ValNone {
		t, v := m.it.At()
		for i < len(xs) && xs[i].T < t {
			i++
		}
		if i == len(xs) {
			break
		}
		if xs[i].T == t && math.Float64bits(xs[i].V) == math.Float64bits(v) {
			m.found[i] = true
		}
	}
	return m.it.Err()
}
