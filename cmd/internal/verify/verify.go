package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/cmd/internal/progress"
)

// Finding is something that is wrong.
type Finding struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"` // -1 when it is the file as a whole
	What   string `json:"what"`
	Do     string `json:"do"` // what a person can do about it
}

func (f Finding) String() string {
	if f.Offset < 0 {
		return fmt.Sprintf("%s: %s; %s", f.File, f.What, f.Do)
	}
	return fmt.Sprintf("%s at %d: %s; %s", f.File, f.Offset, f.What, f.Do)
}

// Report is what was read and what was found.
type Report struct {
	Folder   string    `json:"folder"`
	Blocks   int       `json:"blocks"`
	Samples  uint64    `json:"samples"` // in blocks
	Segments int       `json:"log_segments"`
	Records  int64     `json:"log_records"`
	Bytes    int64     `json:"bytes"`
	Gone     int       `json:"gone"` // blocks that were merged away while they were read
	Findings []Finding `json:"findings"`
	Notes    []string  `json:"notes"` // what is no damage and may be of interest
}

// Options of a verification. The zero value is usable.
type Options struct {
	Workers int             // blocks that are read at a time; 0 means 2
	Meter   *progress.Meter // of bytes; nil means none
}

// folder is a verification on its way.
type folder struct {
	o Options

	mu  sync.Mutex // guards r
	r   Report
	ran map[string]bool // files of blocks that are hard links of others, by device and inode
}

// Folder verifies a data folder, and the snapshots in it. The error says that the folder could not be read at all.
func Folder(ctx context.Context, dir string, o Options) (Report, error) {
	o.Workers = cmp.Or(o.Workers, 2)
	f := &folder{o: o, r: Report{Folder: dir, Findings: []Finding{}, Notes: []string{}}, ran: map[string]bool{}}
	if !hasFolder(dir, "blocks") && !hasFolder(dir, "wal") {
		return f.r, fmt.Errorf("verify: %s is not a data folder: it has neither blocks nor a wal", dir)
	}
	roots := []string{dir}
	snapshots, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return f.r, fmt.Errorf("verify: %w", err)
	}
	for _, e := range snapshots {
		if e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") {
			roots = append(roots, filepath.Join(dir, "snapshots", e.Name()))
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Workers)
	for _, root := range roots {
		if err := f.root(ctx, g, root); err != nil {
			return f.r, errors.Join(fmt.Errorf("verify: %w", err), g.Wait())
		}
	}
	err = g.Wait()
	slices.SortFunc(f.r.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	slices.Sort(f.r.Notes)
	if err != nil {
		err = fmt.Errorf("verify: %w", err)
	}
	return f.r, err
}

func hasFolder(dir, name string) bool {
	fi, err := os.Stat(filepath.Join(dir, name))
	return err == nil && fi.IsDir()
}

// root begins the verification of a data folder or a snapshot.
func (f *folder) root(ctx context.Context, g *errgroup.Group, dir string) error {
	blocks := filepath.Join(dir, "blocks")
	ids, err := block.List(blocks)
	if err != nil {
		return err
	}
	var paths []string
	for _, id := range ids {
		path := filepath.Join(blocks, id.String())
		if f.first(filepath.Join(path, block.ChunksFile)) {
			paths = append(paths, path)
			f.o.Meter.Expect(size(path))
		}
	}
	f.leftovers(blocks)
	f.unknown(dir)
	f.tombstones(dir)
	f.quarantine(filepath.Join(dir, "quarantine"))
	log := filepath.Join(dir, "wal")
	f.o.Meter.Expect(size(log))
	g.Go(func() error { return f.log(ctx, log) })
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.Go(func() error { return f.block(ctx, path) })
	}
	return nil
}

// first reports whether a file was not met before under another name.
func (f *folder) first(path string) bool {
	fi, err := os.Stat(path)
	if err != nil {
		return true // the block itself will tell
	}
	id, ok := inode(fi)
	if !ok {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.ran[id]
	f.ran[id] = true
	return !was
}

func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error { // what cannot be read is told when it is verified
		if err != nil {
			return nil
		}
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
		return nil
	})
	return n
}

func (f *folder) found(x Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.r.Findings = append(f.r.Findings, x)
}

func (f *folder) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.r.Notes = append(f.r.Notes, fmt.Sprintf(format, args...))
}

// leftovers notes what a start removes, or what does not belong there.
func (f *folder) leftovers(blocks string) {
	entries, err := os.ReadDir(blocks)
	if err != nil {
		return // there are no blocks, or List has told
	}
	for _, e := range entries {
		switch ext := filepath.Ext(e.Name()); {
		case ext == ".tmp" || ext == ".del":
			f.note("%s is half written or half removed: a running node is at it, or the next start removes it", filepath.Join(blocks, e.Name()))
		case !isBlock(e):
			f.note("%s is not a block and is not read", filepath.Join(blocks, e.Name()))
		}
	}
}

// BackupLock is the file that is locked in a data folder by who backs up the node that runs on it.
const BackupLock = "backup.lock"

// unknown notes what this version does not know of, so that nobody believes that it was verified.
func (f *folder) unknown(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // what cannot be read is told by those who read it
	}
	for _, e := range entries {
		switch e.Name() {
		case "blocks", "wal", "lock", BackupLock, "snapshots", "quarantine", store.TombstonesFile, store.TombstonesFile + ".tmp":
		default:
			f.note("%s is not known to this version and is not read", filepath.Join(dir, e.Name()))
		}
	}
}

func (f *folder) tombstones(dir string) {
	if err := store.CheckTombstones(dir); err != nil {
		f.found(Finding{File: filepath.Join(dir, store.TombstonesFile), Offset: -1, What: err.Error(),
			Do: "restore it from a snapshot or a backup; without it what was deleted comes back"})
	}
}

func (f *folder) quarantine(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // most folders have none
	}
	for _, e := range entries {
		f.found(Finding{File: filepath.Join(dir, e.Name()), Offset: -1,
			What: "a damaged block was set aside: its samples are missing from answers",
			Do:   "restore it from a backup into blocks, or remove it to accept the loss"})
	}
}
