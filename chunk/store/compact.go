package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/compact"
)

// runCompact merges and forgets when there is something to do.
func (s *Store) runCompact(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.Compact(ctx); err != nil && ctx.Err() == nil {
			s.m.compactErrors.Inc()
			s.o.Logger.Error("blocks could not be merged; nothing is lost, and the next try is in a minute", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.merge:
		case <-tick.C:
		}
	}
}

// Compact applies retention, downsamples, and merges blocks until the plan has nothing more to do.
func (s *Store) Compact(ctx context.Context) error {
	return s.settle(ctx, s.o.Compact, s.o.CompactDuty)
}

// CompactAll merges everything that may become one block, without waiting for more, and as fast as it goes.
func (s *Store) CompactAll(ctx context.Context) error {
	o := s.o.Compact
	o.Force = true
	return s.settle(ctx, o, 1)
}

func (s *Store) settle(ctx context.Context, o compact.Options, duty float64) error {
	s.compactMu.Lock()
	defer s.compactMu.Unlock()
	for {
		if err := s.beSure(); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		now := s.o.Now().UnixMilli()
		if err := s.retain(now); err != nil {
			return fmt.Errorf("retention: %w", err)
		}
		if err := s.eraseLeft(); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err := s.downsample(ctx, now, o, duty)
		if errors.Is(err, errReowned) || s.met(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		if done {
			continue
		}
		jobs := s.plan(now, o)
		if len(jobs) == 0 {
			jobs = s.planDeletes(now, o)
		}
		if len(jobs) == 0 {
			if jobs, err = s.planForeign(o); s.met(err) {
				continue
			} else if err != nil {
				return fmt.Errorf("compact: %w", err)
			}
		}
		if len(jobs) == 0 {
			return s.forgetTombstones()
		}
		if err := s.compact(ctx, jobs[0], duty); err != nil && !errors.Is(err, errReowned) && !s.met(err) {
			return fmt.Errorf("compact: %w", err)
		}
	}
}

// plan returns merges that are worth doing. Blocks are dropped whole, so that each is to be a small part of what its
// resolution's retention keeps.
func (s *Store) plan(now int64, o compact.Options) []compact.Job {
	metas := s.metas()
	for _, r := range s.resolutions() {
		own := o
		if own.MaxRange == 0 && r.Retention > 0 {
			own.MaxRange = max(r.Retention/10, 24*time.Hour)
		}
		of := slices.DeleteFunc(slices.Clone(metas), func(m block.Meta) bool { return m.Resolution != r.Step.Milliseconds() })
		if jobs := compact.Plan(of, now, own); len(jobs) > 0 {
			return jobs
		}
	}
	return nil
}

// planDeletes returns the blocks that hold what was deleted a while ago, or much of it, each to be written anew.
func (s *Store) planDeletes(now int64, o compact.Options) (jobs []compact.Job) {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	for b, m := range s.masks {
		meta := b.Meta()
		much := slices.ContainsFunc(m, func(h hidden) bool {
			return h.ords == nil || 4*uint64(len(h.ords)) >= meta.Series
		})
		if o.Force || much || int64(meta.ULID.Time())+cmp.Or(o.Quiet, time.Hour).Milliseconds() <= now {
			jobs = append(jobs, compact.Job{Blocks: []ulid.ULID{meta.ULID}, Range: compact.RangeOf(meta, o)})
		}
	}
	return jobs
}

// retain removes what retention allows no longer. It counts from the newest sample if that is before the clock, so that
// a clock that jumps ahead takes nothing away.
func (s *Store) retain(now int64) error {
	metas := s.metas()
	now = min(now, s.newest(metas))
	var gone []ulid.ULID
	for i, r := range s.resolutions() {
		own := slices.DeleteFunc(slices.Clone(metas), func(m block.Meta) bool {
			return m.Resolution != r.Step.Milliseconds() || !s.downsampled(metas, m, i)
		})
		gone = append(gone, compact.Expired(own, now, r.Retention, 0)...)
	}
	left := slices.DeleteFunc(metas, func(m block.Meta) bool { return slices.Contains(gone, m.ULID) })
	gone = append(gone, compact.Expired(left, now, 0, s.o.RetentionSize)...)
	if len(gone) == 0 {
		return nil
	}
	s.o.Logger.Info("removing blocks that retention allows no longer", "blocks", len(gone))
	return s.remove(gone...)
}

// newest is the time of the newest sample.
func (s *Store) newest(metas []block.Meta) int64 {
	newest := int64(math.MinInt64)
	for _, m := range metas {
		newest = max(newest, m.MaxTime)
	}
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	for _, t := range s.tables {
		_, maxT := t.Bounds()
		newest = max(newest, maxT)
	}
	return newest
}

// compact merges some blocks into one that takes their place.
func (s *Store) compact(ctx context.Context, job compact.Job, duty float64) error {
	start := s.o.Now()
	v := s.view()
	defer v.close()
	v.leaveMemory()
	var in []*block.Block
	for _, b := range slices.Concat(v.blocks, v.coarse) {
		if slices.Contains(job.Blocks, b.Meta().ULID) {
			in = append(in, b)
		}
	}
	if len(in) == 0 {
		return nil // they were damaged and set aside, or their time was over
	}
	meta, err := compact.Merge(ctx, in, s.blocksDir(), compact.MergeOptions{
		Writer: block.WriterOptions{FS: s.o.FS}, Window: job.Range, Duty: duty, Seq: v.seq, Deleted: v.deletedOf, Keep: v.own,
	})
	if errors.Is(err, block.ErrEmpty) {
		return s.replace(v, nil, job.Blocks...)
	}
	if err != nil {
		return err
	}
	made, err := s.openMade(meta.ULID)
	if err != nil {
		return err
	}
	inherit(ctx, made, in)
	if err := s.replace(v, made, job.Blocks...); err != nil {
		return err
	}
	s.m.compact.Observe(s.o.Now().Sub(start).Seconds())
	s.o.Logger.Info("merged blocks", "blocks", len(in), "block", meta.ULID, "samples", meta.Samples, "duration", s.o.Now().Sub(start))
	return nil
}
