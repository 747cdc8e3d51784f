package block

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/disk"
)

// What stands behind the name of a folder that is not a block yet, or no more.
const (
	tmpSuffix = ".tmp"
	delSuffix = ".del"
)

// List returns the blocks below root, oldest ULID first. It passes over
// everything else. A root that does not exist has none.
func List(root string) ([]ulid.ULID, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	var ids []ulid.ULID
	for _, e := range entries {
		if id, err := ulid.ParseStrict(e.Name()); err == nil && e.IsDir() && id.String() == e.Name() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ulid.ULID.Compare)
	return ids, nil
}

// Clean removes what a crash left half written or half deleted below root. It is for
// start-up: it would also remove what a Writer is writing.
func Clean(fs disk.FS, root string) error {
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean blocks: %w", err)
	}
	for _, e := range entries {
		name, isTmp := strings.CutSuffix(e.Name(), tmpSuffix)
		name, isDel := strings.CutSuffix(name, delSuffix)
		if _, err := ulid.ParseStrict(name); err != nil || !isTmp && !isDel {
			continue
		}
		if err := disk.RemoveAll(fs, filepath.Join(root, e.Name())); err != nil {
			return fmt.Errorf("clean blocks: %w", err)
		}
	}
	return nil
}

// Remove deletes the folder of a block: at once from [List], whatever happens after. It may be called again after an error.
// Readers of an open block are not disturbed.
func Remove(fs disk.FS, dir string) error {
	gone := filepath.Clean(dir) + delSuffix
	if err := fs.Rename(dir, gone); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove block: %w", err)
	}
	if err := fs.SyncDir(filepath.Dir(gone)); err != nil {
		return fmt.Errorf("remove block: %w", err)
	}
	if err := disk.RemoveAll(fs, gone); err != nil {
		return fmt.Errorf("remove block: %w", err)
	}
	return nil
}
