package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/thanos-io/objstore"

	"github.com/minitrue/minitrue/chunk/disk"
)

// unfinished ends the name of an object of a folder while it is being written.
const unfinished = ".unfinished"

// folder is a bucket in a folder. An object is there whole and synced, or not at all, as it is in a bucket of a cloud:
// the provider alone would leave half of one behind a kill.
type folder struct {
	objstore.Bucket
	root string
}

// Upload writes an object beside its place, syncs it and renames it.
func (f *folder) Upload(ctx context.Context, name string, r io.Reader, _ ...objstore.ObjectUploadOption) (err error) {
	path := filepath.Join(f.root, filepath.FromSlash(name))
	if err := disk.MkdirAll(disk.OS, filepath.Dir(path)); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+unfinished)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	w := bufio.NewWriterSize(tmp, 256<<10)
	_, err = io.Copy(w, reader{ctx, r})
	err = errors.Join(err, w.Flush(), tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return disk.OS.SyncDir(filepath.Dir(path))
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
