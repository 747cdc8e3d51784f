package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"
	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/cmd/internal/progress"
	"github.com/minitrue/minitrue/cmd/internal/verify"
)

// Options of a Bucket. The zero value is usable.
type Options struct {
	Workers int              // objects at a time; 0 means 4
	Grace   time.Duration    // how old an object must be before Prune removes it; 0 means 24 h, less than 0 none
	Now     func() time.Time // nil means time.Now
	Meter   *progress.Meter  // of bytes; nil means none
}

// Bucket holds backups. Many processes may back up into one bucket at the same time.
type Bucket struct {
	bucket objstore.Bucket
	o      Options
	reread bool // an upload is read back: the bucket is a folder, and that costs nothing
}

// New returns the backups of a bucket.
func New(b objstore.Bucket, o Options) *Bucket {
	o.Workers = cmp.Or(o.Workers, 4)
	o.Grace = max(cmp.Or(o.Grace, 24*time.Hour), 0)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Bucket{bucket: b, o: o, reread: b.Provider() == objstore.FILESYSTEM}
}

// Created says what a backup cost.
type Created struct {
	Uploaded      int   // files that the bucket lacked
	UploadedBytes int64 //
}

// Create backs up what lies in a folder, which nobody may change meanwhile: a snapshot, or a data folder whose lock the caller has.
// After an error, or a kill, another try uploads what is missing.
func (b *Bucket) Create(ctx context.Context, dir, source string) (Manifest, Created, error) {
	m := Manifest{Version: manifestVersion, Created: b.o.Now().UTC().Truncate(time.Millisecond), Source: source}
	id, err := ulid.New(ulid.Timestamp(m.Created), ulid.DefaultEntropy())
	if err != nil {
		return m, Created{}, err
	}
	m.ID = id
	c := creation{b: b, dir: dir, m: &m, known: map[string]File{}}
	if err := c.run(ctx); err != nil {
		return m, c.cost, fmt.Errorf("back up %s to %s: %w", dir, b.bucket.Name(), err)
	}
	return m, c.cost, nil
}

// creation is a backup on its way.
type creation struct {
	b     *Bucket
	dir   string
	known map[string]File // by object, what manifests list

	mu   sync.Mutex // guards m and cost
	m    *Manifest
	cost Created
}

func (c *creation) run(ctx context.Context) error {
	all, _, err := c.b.List(ctx) // what a damaged manifest lists is uploaded again
	if err != nil {
		return err
	}
	for _, m := range all {
		for _, f := range m.Files {
			c.known[f.Object] = f
		}
	}
	files, err := c.files()
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.b.o.Workers)
	for _, f := range files {
		c.b.o.Meter.Expect(f.size)
	}
	for _, f := range files {
		g.Go(func() error { return c.file(gctx, f) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortFunc(c.m.Files, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	return c.finish(ctx)
}

// finish writes the manifest, and makes sure that nobody removed an object before it was there to protect it.
func (c *creation) finish(ctx context.Context) error {
	raw, err := c.m.encode()
	if err != nil {
		return err
	}
	if err := c.b.bucket.Upload(ctx, c.m.name(), bytes.NewReader(raw)); err != nil {
		return fmt.Errorf("write manifest %s: %w", c.m.name(), err)
	}
	back, err := c.b.manifest(ctx, c.m.name())
	if err == nil && back.ID != c.m.ID {
		err = errors.New("it is another's")
	}
	if err != nil {
		return fmt.Errorf("read manifest %s back: %w", c.m.name(), err)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.b.o.Workers)
	for _, f := range c.m.Files {
		g.Go(func() error {
			ok, err := c.b.has(gctx, f.Object, f.Size)
			if err == nil && !ok {
				err = fmt.Errorf("object %s went away while the backup was made: is a prune running? Run the backup again", f.Object)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return errors.Join(err, c.b.bucket.Delete(context.WithoutCancel(ctx), c.m.name()))
	}
	return nil
}

// local is a file that is to be backed up.
type local struct {
	path   string // in the folder, with slashes
	size   int64
	object string // "" when its content must be read to know
	xxh64  string // what its content must be; "" when nobody knows
}

// files lists what belongs to the data: not locks, nor what is half written, nor snapshots and quarantined blocks.
func (c *creation) files() (files []local, err error) {
	blocks := map[string]block.Meta{}
	err = filepath.WalkDir(c.dir, func(abs string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(c.dir, abs)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		if e.IsDir() {
			if skipped(rel) {
				return filepath.SkipDir
			}
			if id, ok := strings.CutPrefix(rel, "blocks/"); ok {
				blocks[id], err = c.meta(abs)
			}
			return err
		}
		fi, err := e.Info()
		if err != nil || !fi.Mode().IsRegular() || skipped(rel) {
			return err
		}
		f := local{path: rel, size: fi.Size()}
		if parts := strings.Split(rel, "/"); len(parts) == 3 && parts[0] == "blocks" {
			if want, ok := blocks[parts[1]].Files[parts[2]]; ok {
				f.xxh64 = want.Checksum
				f.object = fmt.Sprintf("blocks/%s/%s-%s", parts[1], parts[2], want.Checksum)
			}
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func skipped(rel string) bool {
	switch rel {
	case "lock", verify.BackupLock, "snapshots", "quarantine":
		return true
	}
	ext := filepath.Ext(rel)
	return ext == ".tmp" || ext == ".del"
}

// meta reads what a block is, and with it that it can be opened: a backup of what is damaged is none.
func (c *creation) meta(dir string) (block.Meta, error) {
	o, err := block.Open(dir, block.Options{ReadOnly: true})
	if err != nil {
		return block.Meta{}, fmt.Errorf("%w: see minitruectl verify", err)
	}
	m := o.Meta()
	c.m.Blocks++
	c.m.Samples += m.Samples
	if c.m.Blocks == 1 {
		c.m.MinTime, c.m.MaxTime = m.MinTime, m.MaxTime
	}
	c.m.MinTime, c.m.MaxTime = min(c.m.MinTime, m.MinTime), max(c.m.MaxTime, m.MaxTime)
	return m, o.Close()
}
