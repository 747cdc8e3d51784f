package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/disk"
)

// SnapshotsDir is the folder of a data folder in which its snapshots lie.
const SnapshotsDir = "snapshots"

// halfMade ends the name of the folder of a snapshot that is being made.
const halfMade = ".tmp"

var snapshotName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Snapshot makes a data folder of everything that was appended before it, below the store's own under a name, and returns its path.
// Blocks never change, so that hard links do, which take no room; where there are none, copies. It is there whole
// or, after an error or a crash, not at all. Appends and queries go on meanwhile. Of two of one name at a time one fails.
func (s *Store) Snapshot(ctx context.Context, name string) (string, error) {
	if !snapshotName.MatchString(name) || strings.HasSuffix(name, halfMade) {
		return "", fmt.Errorf("snapshot: the name %q is not letters, digits, dots, dashes and underscores, without %s at its end", name, halfMade)
	}
	root := filepath.Join(s.dir, SnapshotsDir)
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err == nil {
		return "", fmt.Errorf("snapshot: %s: %w", dir, os.ErrExist)
	}
	if err := s.Flush(ctx); err != nil {
		return "", fmt.Errorf("snapshot: %w", err)
	}
	tmp := dir + "." + ulid.Make().String() + halfMade // its own: another of this name would be renamed half made
	err := s.link(ctx, tmp)
	if err == nil {
		if err = s.o.FS.Rename(tmp, dir); err != nil && exists(dir) {
			err = fmt.Errorf("%s: %w", dir, os.ErrExist)
		}
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("snapshot: %w", err), disk.RemoveAll(s.o.FS, tmp))
	}
	if err := s.o.FS.SyncDir(root); err != nil {
		return "", fmt.Errorf("snapshot: %w", err)
	}
	return dir, nil
}

// link links the blocks into a new folder, and writes the tombstones and what lies in no block there: their files may have been damaged
// since they were read. Nobody compacts meanwhile or sets a block aside, so that no block goes away, and none deletes, so that blocks and
// tombstones belong together.
func (s *Store) link(ctx context.Context, to string) error {
	s.compactMu.Lock()
	defer s.compactMu.Unlock()
	s.damageMu.Lock()
	defer s.damageMu.Unlock()
	s.tombMu.Lock()
	defer s.tombMu.Unlock()
	blocks := filepath.Join(to, "blocks")
	if err := disk.MkdirAll(s.o.FS, blocks); err != nil {
		return err
	}
	v := s.view()
	defer v.close()
	v.leaveMemory()
	for _, b := range slices.Concat(v.blocks, v.coarse) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := linkFiles(s.o.FS, b.Dir(), filepath.Join(blocks, filepath.Base(b.Dir()))); err != nil {
			return err
		}
	}
	if s.tombs.Seq > 0 || len(s.tombs.Applied) > 0 { // tombMu is held
		if err := s.tombs.write(s.o.FS, to); err != nil {
			return err
		}
	}
	if err := s.writeRest(to); err != nil {
		return err
	}
	return errors.Join(s.o.FS.SyncDir(blocks), s.o.FS.SyncDir(to))
}

func linkFiles(fs disk.FS, from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := fs.Mkdir(to); err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			continue // what is derived is being made anew
		}
		if err := linkFile(fs, filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return fs.SyncDir(to)
}

// linkFile links a file, or copies it where the file system has no links.
func linkFile(fs disk.FS, from, to string) error {
	err := fs.Link(from, to)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := fs.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// cleanSnapshots removes what a crash left half made.
func (s *Store) cleanSnapshots() error {
	half, err := filepath.Glob(filepath.Join(s.dir, SnapshotsDir, "*"+halfMade))
	if err != nil {
		return err
	}
	for _, dir := range half {
		if err := disk.RemoveAll(s.o.FS, dir); err != nil {
			return fmt.Errorf("remove an unfinished snapshot: %w", err)
		}
	}
	return nil
}
