package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/store"
)

// openStopped opens the data folder of a stopped node whose blocks can all be opened: the store would set the others aside and go on
// without their samples, and so would who reads it.
func openStopped(dir string, o store.Options) (*store.Store, error) {
	lock, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("the data folder %s is in use by another process: %w", dir, err)
	}
	if err := errors.Join(openable(filepath.Join(dir, "blocks")), lock.Release()); err != nil {
		return nil, err
	}
	return store.Open(dir, o)
}

// openable returns an error of the first block that cannot be opened. A damaged index is no loss: it is made anew.
func openable(blocks string) error {
	ids, err := block.List(blocks)
	if err != nil {
		return err
	}
	for _, id := range ids {
		dir := filepath.Join(blocks, id.String())
		b, err := block.Open(dir, block.Options{})
		if err == nil {
			err = b.Close()
		}
		if err == nil {
			continue
		}
		return fmt.Errorf("%w: its samples would be left out; minitruectl verify says what to do, or move %s away to go on without them", err, dir)
	}
	return nil
}

// tellAside says which damaged blocks of a data folder were set aside: their samples are in no backup and no export.
func tellAside(w io.Writer, what, dir string) {
	aside, _ := filepath.Glob(filepath.Join(dir, "quarantine", "*")) // the pattern is a good one
	for _, path := range aside {
		fmt.Fprintf(w, "%s: the samples of %s are left out: it was set aside because it is damaged; see minitruectl verify\n", what, path)
	}
}
