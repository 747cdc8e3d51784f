package store

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/shard"
)

// met sees to the block in which somebody met damage: who has the same view meets it again, and those who come later
// do not. A damaged index is made anew from the rest of the block; a block damaged elsewhere is set aside. It reports whether
// the error was of a block that is out of the view now, and so whether trying again is of use.
// The caller holds neither tombMu nor viewMu.
func (s *Store) met(err error) bool {
	var damage *block.CorruptError
	if !errors.As(err, &damage) {
		return false
	}
	s.damageMu.Lock()
	defer s.damageMu.Unlock()
	b := s.inView(damage.Block)
	if b == nil {
		return s.aside[damage.Block] // somebody else met it, too
	}
	if damage.File == block.IndexFile {
		if b.Err() == nil {
			return true // made anew since
		}
		fresh, oerr := s.openBlock(b.Meta().ULID)
		if oerr == nil {
			s.swap(b, fresh)
			s.o.Logger.Warn("a damaged index was made anew while its block was open: nothing is missing", "block", b.Meta().ULID,
				"path", b.Dir(), "file", damage.File, "offset", damage.Offset, "err", err)
			return true
		}
		err = errors.Join(err, oerr)
	}
	s.swap(b, nil)
	s.aside[b.Dir()] = true
	if qerr := s.quarantine(b.Meta().ULID, err); qerr != nil {
		// It is out of the view all the same; the next start meets it again.
		s.o.Logger.Error("a damaged block is not used any more, but could not be set aside", "block", b.Meta().ULID, "path", b.Dir(), "err", qerr)
	}
	return true
}

// quarantineDir is the folder of a data folder for blocks that were set aside.
const quarantineDir = "quarantine"

// quarantine moves a damaged block out of the way, where a person can look at it.
func (s *Store) quarantine(id ulid.ULID, why error) error {
	s.m.quarantined.Inc()
	dir := filepath.Join(s.dir, quarantineDir)
	if err := disk.MkdirAll(s.o.FS, dir); err != nil {
		return err
	}
	to := blockPath(dir, id)
	for i := 1; exists(to); i++ { // it was restored, and is damaged once more
		to = fmt.Sprintf("%s.%d", blockPath(dir, id), i)
	}
	if err := s.o.FS.Rename(s.blockDir(id), to); err != nil {
		return fmt.Errorf("quarantine block %s: %w", id, err)
	}
	file, offset := "", int64(-1)
	var damage *block.CorruptError
	if errors.As(why, &damage) {
		file, offset = damage.File, damage.Offset
	}
	s.o.Logger.Error("a damaged block was set aside: its samples are missing from answers",
		"block", id, "path", to, "file", file, "offset", offset, "err", why)
	return errors.Join(s.o.FS.SyncDir(s.blocksDir()), s.o.FS.SyncDir(dir))
}

// lyingAside are the blocks that were set aside and may be put back. One that does not say what it holds may hold anything.
func (s *Store) lyingAside() ([]block.Meta, error) {
	dir := filepath.Join(s.dir, quarantineDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var metas []block.Meta
	for _, e := range entries {
		m, err := block.ReadMeta(filepath.Join(dir, e.Name()))
		if err != nil {
			m = block.Meta{MinTime: math.MinInt64, MaxTime: math.MaxInt64}
		}
		metas = append(metas, m)
	}
	return metas, nil
}

// mayHide reports whether a tombstone may hide something of one of some blocks.
func (t *tombstone) mayHide(metas []block.Meta) bool {
	return slices.ContainsFunc(metas, func(m block.Meta) bool { return m.Seq < t.Seq && t.MinTime <= m.MaxTime && t.MaxTime >= m.MinTime })
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// inView returns the block in the view that has a folder, nil if there is none.
func (s *Store) inView(dir string) *block.Block {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	for _, b := range slices.Concat(s.blocks, s.coarse) {
		if b.Dir() == dir {
			return b
		}
	}
	return nil
}

// swap puts a fresh opening of the same block into the place of one in the view, or nothing. When the block is not there any
// more the fresh one is let go.
func (s *Store) swap(old, fresh *block.Block) {
	s.tombMu.Lock()
	defer s.tombMu.Unlock()
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	if !slices.Contains(s.blocks, old) && !slices.Contains(s.coarse, old) {
		if fresh != nil {
			fresh.Release()
		}
		return
	}
	masks := maps.Clone(s.masks)
	if m, ok := masks[old]; ok && fresh != nil {
		masks[fresh] = m
	}
	delete(masks, old)
	s.masks = masks
	is := func(b *block.Block) bool { return b == old }
	s.blocks, s.coarse = slices.DeleteFunc(s.blocks, is), slices.DeleteFunc(s.coarse, is)
	if fresh != nil {
		s.add(fresh)
	} else {
		s.forgot(old, shard.All())
	}
	old.Release()
}
