package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

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
		s.add(b)
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
	metas := make([]block.Meta, 0, len(s.blocks)+len(s.coarse))
	for _, b := range s.blocks {
		metas = append(metas, b.Meta())
	}
	for _, b := range s.coarse {
		metas = append(metas, b.Meta())
	}
	return metas
}

// add puts an open block into the view. The caller holds viewMu, or is alone.
func (s *Store) add(b *block.Block) {
	if b.Meta().Resolution > 0 {
		s.coarse = append(s.coarse, b)
	} else {
		s.blocks = append(s.blocks, b)
	}
}

// remove takes a block out of the view and off the disk. Readers who have it keep it.
func (s *Store) remove(ids ...ulid.ULID) error {
	s.viewMu.Lock()
	gone := func(b *block.Block) bool {
		if !slices.Contains(ids, b.Meta().ULID) {
			return false
		}
		b.Release()
		return true
	}
	masks := maps.Clone(s.masks)
	maps.DeleteFunc(masks, func(b *block.Block, _ mask) bool { return slices.Contains(ids, b.Meta().ULID) })
	s.masks = masks
	s.blocks, s.coarse = slices.DeleteFunc(s.blocks, gone), slices.DeleteFunc(s.coarse, gone)
	s.viewMu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, block.Remove(s.blockDir(id)))
	}
	return errors.Join(errs...)
}
