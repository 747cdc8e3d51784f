package store

import (
	"errors"
	"maps"
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
	if err := block.Clean(s.o.FS, s.blocksDir()); err != nil {
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
	b, err := block.Open(s.blockDir(id), block.Options{FS: s.o.FS, Logger: s.o.Logger, Cache: s.cache})
	if err == nil && b.Reindexed() {
		s.m.reindexed.Inc()
	}
	return b, err
}

// openMade opens a block that was just made, and removes it when it is damaged already: its samples are still where they came from.
func (s *Store) openMade(id ulid.ULID) (*block.Block, error) {
	b, err := s.openBlock(id)
	if err != nil {
		return nil, errors.Join(err, block.Remove(s.o.FS, s.blockDir(id)))
	}
	return b, nil
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

// remove takes blocks out of the view and off the disk. Readers who have them keep them. Those that were set aside meanwhile
// are left where they are.
func (s *Store) remove(ids ...ulid.ULID) error {
	s.tombMu.Lock()
	s.viewMu.Lock()
	var dirs []string
	masks := maps.Clone(s.masks)
	gone := func(b *block.Block) bool {
		if !slices.Contains(ids, b.Meta().ULID) {
			return false
		}
		dirs = append(dirs, b.Dir())
		delete(masks, b)
		b.Release()
		return true
	}
	s.blocks, s.coarse = slices.DeleteFunc(s.blocks, gone), slices.DeleteFunc(s.coarse, gone)
	s.masks = masks
	s.viewMu.Unlock()
	s.tombMu.Unlock()
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, block.Remove(s.o.FS, dir))
	}
	return errors.Join(errs...)
}
