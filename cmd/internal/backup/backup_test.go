package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thanos-io/objstore"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/cmd/internal/fixture"
)

// tree is every file of a folder with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func dataFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	fixture.Fill(t, dir, 0, 300, true)
	return dir
}

func bucketIn(t *testing.T, o Options) (*Bucket, string) {
	t.Helper()
	dir := t.TempDir()
	b, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return New(b, o), dir
}

func create(t *testing.T, b *Bucket, dir string) (Manifest, Created) {
	t.Helper()
	m, c, err := b.Create(t.Context(), dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	return m, c
}

// same fails the test unless a restored folder has the files that were backed up, and opens.
func same(t *testing.T, want map[string]string, dir string) {
	t.Helper()
	got := tree(t, dir)
	delete(want, "lock")
	if !maps.Equal(got, want) {
		t.Fatalf("it has %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBackupsAreIncremental(t *testing.T) {
	dir := dataFolder(t)
	b, _ := bucketIn(t, Options{})
	first, cost := create(t, b, dir)
	if cost.Uploaded != len(first.Files) || cost.UploadedBytes != first.Bytes() || first.Samples != 300*fixture.Series {
		t.Errorf("%+v of %d files, %d samples", cost, len(first.Files), first.Samples)
	}
	before := tree(t, dir)
	if again, cost := create(t, b, dir); cost.Uploaded != 0 || again.ID == first.ID || len(again.Files) != len(first.Files) {
		t.Errorf("the same again costs %+v", cost)
	}
	fixture.Fill(t, dir, 1000, 1010, true)
	second, cost := create(t, b, dir)
	if cost.Uploaded == 0 || cost.Uploaded >= len(second.Files) || second.MaxTime <= first.MaxTime {
		t.Errorf("one more block costs %+v of %d files", cost, len(second.Files))
	}
	for _, row := range []struct {
		at   string
		want map[string]string
	}{{first.ID.String(), before}, {Latest, tree(t, dir)}, {time.Now().Add(time.Hour).Format(time.RFC3339), tree(t, dir)}} {
		m, err := b.Find(t.Context(), row.at)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "x", "data")
		if err := b.Restore(t.Context(), m, to); err != nil {
			t.Fatal(err)
		}
		same(t, row.want, to)
	}
	for _, at := range []string{"", "yesterday", "2001-01-01T00:00:00Z", "01J00000000000000000000000"} {
		if _, err := b.Find(t.Context(), at); err == nil {
			t.Errorf("there is a backup %q", at)
		}
	}
}

// dying is a bucket that stops at its nth operation, in the middle of it, as a killed process does.
type dying struct {
	objstore.Bucket
	left atomic.Int64
	dead atomic.Bool
}

var errKilled = errors.New("killed")

func (d *dying) step() error {
	if d.dead.Load() || d.left.Add(-1) < 0 {
		d.dead.Store(true)
		return errKilled
	}
	return nil
}

func (d *dying) Attributes(ctx context.Context, name string) (objstore.ObjectAttributes, error) {
	if err := d.step(); err != nil {
		return objstore.ObjectAttributes{}, err
	}
	return d.Bucket.Attributes(ctx, name)
}

func (d *dying) Delete(ctx context.Context, name string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Bucket.Delete(ctx, name)
}

func (d *dying) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := d.Bucket.Get(ctx, name)
	if d.step() != nil && err == nil {
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r, 1000), failing{}), r}, nil
	}
	return r, err
}

func (d *dying) Upload(ctx context.Context, name string, r io.Reader, o ...objstore.ObjectUploadOption) error {
	if d.dead.Load() {
		return errKilled
	}
	if d.step() != nil {
		_ = d.Bucket.Upload(ctx, name+unfinished, io.MultiReader(io.LimitReader(r, 1000), failing{}))
		return errKilled
	}
	return d.Bucket.Upload(ctx, name, r, o...)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errKilled }

// However far a backup, a restore or a prune came before it was killed, the same command ends it, and no backup
// that is listed is damaged at any time.
func TestKilledAtEveryStep(t *testing.T) {
	dir := dataFolder(t)
	want := tree(t, dir)
	for n := int64(0); ; n += 1 + n/12 {
		plain, _ := bucketIn(t, Options{Workers: 1, Grace: time.Hour})
		dies := &dying{Bucket: plain.bucket}
		dies.left.Store(n)
		b := New(dies, plain.o)
		_, _, err := b.Create(t.Context(), dir, "test")
		sound(t, plain)
		m, cost := create(t, plain, dir)
		if err == nil && cost.Uploaded != 0 {
			t.Fatalf("a finished backup left %+v to do", cost)
		}
		to := filepath.Join(t.TempDir(), "data")
		dies.dead.Store(false)
		dies.left.Store(n)
		if b.Restore(t.Context(), m, to) != nil {
			if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("killed at step %d of a restore, and the folder is there", n)
			}
			if err := plain.Restore(t.Context(), m, to); err != nil {
				t.Fatal(err)
			}
		}
		same(t, maps.Clone(want), to)

		create(t, plain, dir)
		dies.dead.Store(false)
		dies.left.Store(n)
		b.o.Grace = 0
		pruned, perr := b.Prune(t.Context(), Keep{Last: 1})
		sound(t, plain)
		if perr == nil && len(pruned.Backups) == 0 {
			t.Fatal("nothing was pruned")
		}
		if err == nil && perr == nil {
			t.Logf("%d steps", n)
			return
		}
	}
}

// sound fails the test if anything that a manifest lists is damaged.
func sound(t *testing.T, b *Bucket) {
	t.Helper()
	all, broken, err := b.List(t.Context())
	if err != nil || len(broken) > 0 {
		t.Fatal(err, broken)
	}
	damage, err := b.Verify(t.Context(), all)
	if err != nil || len(damage) > 0 {
		t.Fatal(err, damage)
	}
}

func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	now := time.Now()
	dir := dataFolder(t)
	b, root := bucketIn(t, Options{Now: func() time.Time { return now }})
	var made []Manifest
	for i := range 4 {
		fixture.Fill(t, dir, 1000*(i+1), 1000*(i+1)+10, true)
		m, _ := create(t, b, dir)
		made = append(made, m)
		now = now.Add(time.Hour)
	}
	stranger := filepath.Join(root, "blocks", "readme")
	if err := os.WriteFile(stranger, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := b.Prune(t.Context(), Keep{Last: 2, Within: 150 * time.Minute, DryRun: true})
	if err != nil || len(p.Backups) != 2 {
		t.Fatal(p, err)
	}
	if all, _, _ := b.List(t.Context()); len(all) != 4 {
		t.Fatal("a dry run removed something")
	}
	// Objects are too young, and stay.
	if p, err = b.Prune(t.Context(), Keep{Last: 2}); err != nil || p.Objects > 0 || p.Young == 0 || p.Kept != 2 {
		t.Fatal(p, err)
	}
	sound(t, b)
	now = now.Add(48 * time.Hour)
	if p, err = b.Prune(t.Context(), Keep{Last: 2}); err != nil || p.Objects == 0 || p.Young > 0 {
		t.Fatal(p, err)
	}
	sound(t, b)
	if err := b.Restore(t.Context(), made[2], filepath.Join(t.TempDir(), "data")); err != nil {
		t.Error(err)
	}
	if p, err = b.Prune(t.Context(), Keep{Within: time.Minute}); err != nil || p.Kept > 0 {
		t.Fatal(p, err)
	}
	if left := tree(t, root); len(left) != 1 || left["blocks/readme"] != "mine" {
		t.Errorf("left are %v", slices.Sorted(maps.Keys(left)))
	}
}

func TestRestoreRefusesAFolderThatIsUsed(t *testing.T) {
	dir := dataFolder(t)
	b, _ := bucketIn(t, Options{})
	m, _ := create(t, b, dir)
	if err := b.Restore(t.Context(), m, dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
	empty := t.TempDir()
	if err := b.Restore(t.Context(), m, empty); err != nil {
		t.Error(err)
	}
	same(t, tree(t, dir), empty)
}

// A folder that cannot be replaced, as a mount point cannot, is told before anything is downloaded.
func TestRestoreRefusesAFolderThatStays(t *testing.T) {
	b, _ := bucketIn(t, Options{})
	m, _ := create(t, b, dataFolder(t))
	dir := filepath.Join(t.TempDir(), "data")
	for _, path := range []string{dir, filepath.Join(dir+".restoring.probe", "in the way")} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Restore(t.Context(), m, dir); err == nil || !strings.Contains(err.Error(), "mount point") {
		t.Error(err)
	}
	if _, err := os.Stat(dir + Restoring); err == nil {
		t.Error("something was downloaded")
	}
}
