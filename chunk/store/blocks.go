package store

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/compact"
	"github.com/minitrue/minitrue/shard"
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

// remove takes blocks out of the view and off the disk, and their samples out of every answer. Readers who have them keep them.
func (s *Store) remove(ids ...ulid.ULID) error {
	s.tombMu.Lock()
	s.viewMu.Lock()
	gone := s.take(ids)
	s.viewMu.Unlock()
	s.tombMu.Unlock()
	for _, b := range gone {
		s.forgot(b, shard.All())
	}
	return s.erase(gone)
}

// replace puts a new block into the place of those of a view that it was made of, or nothing if made is nil: all that they have is deleted
// or foreign. After an error the new one is gone, and the old ones are there.
func (s *Store) replace(v *view, made *block.Block, old ...ulid.ULID) error {
	gone, err := s.publish(v, made, old)
	if err != nil {
		if made != nil {
			made.Release()
			err = errors.Join(err, block.Remove(s.o.FS, made.Dir()))
		}
		return err
	}
	if v.own != nil {
		foreign := shard.All()
		foreign.Minus(v.own)
		for _, b := range gone {
			s.forgot(b, foreign)
		}
	}
	return s.erase(gone)
}

// publish exchanges blocks in the view, and returns those that are not there any more. They may have been read before the latest delete:
// what it hides of the new one is worked out before anybody sees it.
func (s *Store) publish(v *view, made *block.Block, old []ulid.ULID) (gone []*block.Block, err error) {
	s.tombMu.Lock()
	defer s.tombMu.Unlock()
	var m mask
	if made != nil {
		if m, err = maskOf(made, s.tombs.Tombstones); err != nil {
			return nil, err
		}
	}
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	if !s.mayDrop(v.own) {
		return nil, errReowned
	}
	if made != nil {
		if len(m) > 0 {
			s.masks = maps.Clone(s.masks)
			s.masks[made] = m
		}
		s.add(made)
	}
	return s.take(old), nil
}

// take takes blocks out of the view. The caller holds tombMu and viewMu, and gives what is returned to erase.
func (s *Store) take(ids []ulid.ULID) (taken []*block.Block) {
	masks := maps.Clone(s.masks)
	gone := func(b *block.Block) bool {
		if !slices.Contains(ids, b.Meta().ULID) {
			return false
		}
		taken = append(taken, b)
		delete(masks, b)
		return true
	}
	s.blocks, s.coarse = slices.DeleteFunc(s.blocks, gone), slices.DeleteFunc(s.coarse, gone)
	s.masks = masks
	return taken
}

// forgot tells the ledger that samples of a block in some partitions are gone.
func (s *Store) forgot(b *block.Block, parts *shard.Set) {
	if m := b.Meta(); m.Resolution == 0 {
		s.ledger.forget(m.MinTime, m.MaxTime, parts)
	}
}

// inherit gives a block the digests of those that it was made of, when no sample is in two of them, and none is gone.
func inherit(ctx context.Context, made *block.Block, old []*block.Block) {
	samples := uint64(0)
	for _, b := range old {
		if samples += b.Meta().Samples; b.Meta().Resolution > 0 || !b.HasDigests() {
			return
		}
	}
	if samples != made.Meta().Samples {
		return
	}
	var ds []block.Digests
	for _, b := range old {
		d, err := b.Digests(ctx)
		if err != nil {
			return // they are found when they are asked for
		}
		ds = append(ds, d)
	}
	made.SetDigests(block.SumDigests(ds...))
}

// erase removes blocks that were taken out of the view.
func (s *Store) erase(taken []*block.Block) error {
	for _, b := range taken {
		b.Release()
		s.left = append(s.left, b.Dir())
	}
	return s.eraseLeft()
}

// eraseLeft removes blocks that are out of the view from the disk, those too that could not be removed before. While there are any none is made of
// others: the next start knows by the blocks that were made of one that it is to go. The caller holds compactMu, or is alone.
func (s *Store) eraseLeft() error {
	var errs []error
	s.left = slices.DeleteFunc(s.left, func(dir string) bool {
		err := block.Remove(s.o.FS, dir)
		errs = append(errs, err)
		return err == nil
	})
	return errors.Join(errs...)
}
