package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/block"
)

func isBlock(e fs.DirEntry) bool {
	id, err := ulid.ParseStrict(e.Name())
	return err == nil && e.IsDir() && id.String() == e.Name()
}

// block verifies one block. The error is that of the context.
func (f *folder) block(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bytes := size(dir)
	samples, err := verifyBlock(dir)
	f.o.Meter.Add(bytes)
	if _, gone := os.Stat(filepath.Join(dir, block.MetaFile)); err != nil && errors.Is(gone, os.ErrNotExist) {
		if _, gone := os.Stat(dir); errors.Is(gone, os.ErrNotExist) {
			f.mu.Lock()
			f.r.Gone++
			f.mu.Unlock()
			return nil
		}
	}
	f.mu.Lock()
	f.r.Blocks++
	f.r.Samples += samples
	f.r.Bytes += bytes
	f.mu.Unlock()
	if err != nil {
		f.found(blockFinding(dir, err))
	}
	return nil
}

func verifyBlock(dir string) (samples uint64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read: %v", p)
		}
	}()
	b, err := block.Open(dir, block.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	err = b.Verify()
	return b.Meta().Samples, errors.Join(err, b.Close())
}

func blockFinding(dir string, err error) Finding {
	x := Finding{File: dir, Offset: -1, What: err.Error(),
		Do: "restore the block from a backup (minitruectl restore), or stop the node and move its folder out of blocks to go on without its samples"}
	var c *block.CorruptError
	if errors.As(err, &c) {
		x.File, x.Offset, x.What = filepath.Join(c.Block, c.File), c.Offset, c.Err.Error()
		if c.File == block.IndexFile {
			x.Do = "stop the node, remove the file and start the node: the index is made anew from the Parquet files"
		}
	}
	if errors.Is(err, block.ErrUnsupported) {
		x.Do = "verify it with the version of minitruectl that belongs to the node"
	}
	return x
}
