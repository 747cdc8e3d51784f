package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/compact"
)

func blockPath(root string, id ulid.ULID) string { return filepath.Join(root, id.String()) }

// openBlocks opens the blocks of the folder. One that does not open is set aside:
// the others go on serving.
func (s *Store) openBlocks() error {
	if err := block.Clean(s.blocksDir()); err != nil {
		return err
	}
	ids, err := block.List(s.blocksDir())
	if err != nil {
		return err
	}
	for _, id := range ids {
		b, err := s.openBlock(id)
		if err != nil {
			if err := s.quarantine(id, err); err != nil {
				return err
			}
			continue
		}
		s.blocks = append(s.blocks, b)
	}
	for _, id := range compact.Superseded(s.metas()) {
		if err := s.remove(id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) openBlock(id ulid.ULID) (*block.Block, error) {
	return block.Open(s.blockDir(id), block.Options{Logger: s.o.Logger, Cache: s.cache})
}

// quarantine moves a damaged block out of the way, where a person can look at it.
func (s *Store) quarantine(id ulid.ULID, why error) error {
	dir := filepath.Join(s.dir, "quarantine")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	to := blockPath(dir, id)
	if err := os.Rename(s.blockDir(id), to); err != nil {
		return fmt.Errorf("quarantine block %s: %w", id, err)
	}
	s.m.quarantined.Inc()
	s.o.Logger.Error("a damaged block was set aside: its samples are missing from answers", "block", id, "path", to, "err", why)
	return nil
}

func (s *Store) metas() []block.Meta {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	metas := make([]block.Meta, len(s.blocks))
	for i, b := range s.blocks {
		metas[i] = b.Meta()
	}
	return metas
}

// remove takes a block out of the view and off the disk. Readers who have it keep it.
func (s *Store) remove(ids ...ulid.ULID) error {
	s.viewMu.Lock()
	s.blocks = slices.DeleteFunc(s.blocks, func(b *block.Block) bool {
		gone := slices.Contains(ids, b.Meta().ULID)
		if gone {
			b.Release()
		}
		return gone
	})
	s.viewMu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, block.Remove(s.blockDir(id)))
	}
	return errors.Join(errs...)
}

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

// Compact applies retention, and merges blocks until the plan has nothing more to merge.
func (s *Store) Compact(ctx context.Context) error {
	for {
		now := s.o.Now().UnixMilli()
		if gone := compact.Expired(s.metas(), now, s.o.Retention, s.o.RetentionSize); len(gone) > 0 {
			s.o.Logger.Info("removing blocks that retention allows no longer", "blocks", len(gone))
			if err := s.remove(gone...); err != nil {
				return fmt.Errorf("retention: %w", err)
			}
		}
		jobs := compact.Plan(s.metas(), now, s.o.Compact)
		if len(jobs) == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.compact(ctx, jobs[0]); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
	}
}

// compact merges some blocks into one that takes their place.
func (s *Store) compact(ctx context.Context, job compact.Job) error {
	start := s.o.Now()
	v := s.view()
	defer v.close()
	var in []*block.Block
	for _, b := range v.blocks {
		if slices.Contains(job.Blocks, b.Meta().ULID) {
			in = append(in, b)
		}
	}
	meta, err := compact.Merge(ctx, in, s.blocksDir(), compact.MergeOptions{Window: job.Range, Duty: s.o.CompactDuty})
	if err != nil {
		return err
	}
	b, err := s.openBlock(meta.ULID)
	if err != nil {
		return err
	}
	s.viewMu.Lock()
	s.blocks = append(s.blocks, b)
	s.viewMu.Unlock()
	s.m.compact.Observe(s.o.Now().Sub(start).Seconds())
	s.o.Logger.Info("merged blocks", "blocks", len(in), "block", meta.ULID, "samples", meta.Samples, "duration", s.o.Now().Sub(start))
	return s.remove(job.Blocks...)
}
