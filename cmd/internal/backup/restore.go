package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/cmd/internal/verify"
)

// Restoring ends the name of the folder that is being made: it gets its own name when all is there and verified.
const Restoring = ".restoring"

// probe ends the name that an empty folder gets for a moment, to see whether it can be replaced.
const probe = Restoring + ".probe"

// Restore makes a data folder of a backup, which must not exist or be empty. What an interrupted one left
// is used by the next.
func (b *Bucket) Restore(ctx context.Context, m Manifest, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := free(dir); err != nil {
		return fmt.Errorf("restore backup %s: %w", m.ID, err)
	}
	tmp := dir + Restoring
	if err := b.fetch(ctx, m, tmp); err != nil {
		return fmt.Errorf("restore backup %s: %w; %s is not touched; the same command goes on in %s", m.ID, err, dir, tmp)
	}
	r, err := verify.Folder(ctx, tmp, verify.Options{})
	if err != nil {
		return fmt.Errorf("restore backup %s: %w", m.ID, err)
	}
	if len(r.Findings) > 0 {
		return fmt.Errorf("restore backup %s: %d things in it are damaged, the first is %s; take an earlier backup, or see all by minitruectl verify --data-dir %s",
			m.ID, len(r.Findings), r.Findings[0], tmp)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("restore backup %s: %w", m.ID, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("restore backup %s: %w", m.ID, err)
	}
	return disk.OS.SyncDir(filepath.Dir(dir))
}

func free(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: give a folder that does not exist, or move this one away", dir)
	}
	// What cannot be moved cannot be replaced in the end. It is better known before everything is downloaded.
	err = os.Rename(dir, dir+probe)
	if err == nil {
		err = os.Rename(dir+probe, dir)
	}
	if err != nil {
		return fmt.Errorf("%w: if %s is a mount point, give a folder in it that does not exist", err, dir)
	}
	return nil
}

// fetch downloads all files, those of an earlier try excepted.
func (b *Bucket) fetch(ctx context.Context, m Manifest, tmp string) error {
	for _, name := range []string{"blocks", "wal"} { // a data folder without samples has them too
		if err := disk.MkdirAll(disk.OS, filepath.Join(tmp, name)); err != nil {
			return err
		}
	}
	if err := strip(m, tmp); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(b.o.Workers)
	b.o.Meter.Expect(m.Bytes())
	for _, f := range m.Files {
		g.Go(func() error {
			err := b.fetchFile(gctx, f, filepath.Join(tmp, filepath.FromSlash(f.Path)))
			b.o.Meter.Add(f.Size)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return filepath.WalkDir(tmp, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = disk.OS.SyncDir(path)
		}
		return err
	})
}

// strip removes what is not of this backup.
func strip(m Manifest, tmp string) error {
	wanted := map[string]bool{}
	for _, f := range m.Files {
		wanted[f.Path] = true
	}
	return filepath.WalkDir(tmp, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(tmp, path)
		if err == nil && !wanted[filepath.ToSlash(rel)] {
			err = os.Remove(path)
		}
		return err
	})
}

func (b *Bucket) fetchFile(ctx context.Context, f File, path string) (err error) {
	if s, err := hashFile(ctx, path); err == nil && s.size == f.Size && s.sha256 == f.SHA256 {
		return nil
	}
	if err := disk.MkdirAll(disk.OS, filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = b.copy(ctx, f, out)
	return errors.Join(err, out.Sync(), out.Close())
}

// Damage is an object that is not what a manifest says.
type Damage struct {
	Object  string   `json:"object"`
	What    string   `json:"what"`
	Backups []string `json:"backups"` // that cannot be restored
}

func (d Damage) String() string {
	return fmt.Sprintf("%s (needed by %s)", d.What, strings.Join(d.Backups, ", "))
}
