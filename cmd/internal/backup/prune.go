package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/thanos-io/objstore"
	"golang.org/x/sync/errgroup"
)

// Verify reads every object of the given backups, each of them once, and says what is damaged.
func (b *Bucket) Verify(ctx context.Context, backups []Manifest) ([]Damage, error) {
	type need struct {
		File
		backups []string
	}
	needs := map[string]*need{} // by object and what it should be: two manifests may disagree
	var order []*need
	for _, m := range backups {
		for _, f := range m.Files {
			key := fmt.Sprint(f.Object, f.Size, f.SHA256)
			if needs[key] == nil {
				needs[key] = &need{File: f}
				order = append(order, needs[key])
				b.o.Meter.Expect(f.Size)
			}
			if n := needs[key]; !slices.Contains(n.backups, m.ID.String()) {
				n.backups = append(n.backups, m.ID.String())
			}
		}
	}
	var mu sync.Mutex
	var found []Damage
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(b.o.Workers)
	for _, n := range order {
		g.Go(func() error {
			err := b.check(gctx, n.File)
			b.o.Meter.Add(n.Size)
			if err == nil || gctx.Err() != nil {
				return gctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			found = append(found, Damage{n.Object, err.Error(), n.backups})
			return nil
		})
	}
	err := g.Wait()
	slices.SortFunc(found, func(x, y Damage) int { return strings.Compare(x.Object, y.Object) })
	return found, err
}

// Remove removes what Verify found, so that the next backup uploads it again.
func (b *Bucket) Remove(ctx context.Context, found []Damage) error {
	names := make([]string, len(found))
	for i, d := range found {
		names[i] = d.Object
	}
	return b.remove(ctx, names, false)
}

// Keep says which backups stay: those that one of its parts wants. The zero value keeps none.
type Keep struct {
	Last    int           // so many of the newest
	Within  time.Duration // all that are younger
	Damaged bool          // manifests that cannot be read are removed, and with them what only they need
	DryRun  bool          // nothing is removed
}

// Pruned is what a Prune removed, or would have.
type Pruned struct {
	Backups []Manifest
	Objects int
	Kept    int // backups
	Young   int // objects that nothing needs, and that a backup that is being made may have uploaded
}

// Prune removes backups, and then the objects that no backup needs any more and that are older than Options.Grace.
func (b *Bucket) Prune(ctx context.Context, k Keep) (Pruned, error) {
	var p Pruned
	all, broken, err := b.List(ctx)
	if err != nil {
		return p, err
	}
	if len(broken) > 0 && !k.Damaged {
		return p, fmt.Errorf("prune: manifest %s is damaged (%w), so nobody knows which objects it needs: restore the object, or remove it by --remove-damaged", broken[0].Object, broken[0].Err)
	}
	needed := map[string]bool{}
	now := b.o.Now()
	var gone []string
	for i, m := range all {
		if len(all)-i <= k.Last || now.Sub(m.Created) < k.Within {
			p.Kept++
			for _, f := range m.Files {
				needed[f.Object] = true
			}
			continue
		}
		p.Backups = append(p.Backups, m)
		gone = append(gone, m.name())
	}
	for _, x := range broken {
		gone = append(gone, x.Object)
	}
	if err := b.remove(ctx, gone, k.DryRun); err != nil {
		return p, err
	}
	gone = gone[:0]
	for _, dir := range []string{"blocks/", "files/", manifests} {
		err := b.bucket.Iter(ctx, dir, func(name string) error {
			if needed[name] || !forgettable(name) {
				return nil
			}
			a, err := b.bucket.Attributes(ctx, name)
			switch {
			case err != nil && b.bucket.IsObjNotFoundErr(err):
			case err != nil:
				return err
			case now.Sub(a.LastModified) < b.o.Grace:
				p.Young++
			default:
				gone = append(gone, name)
			}
			return nil
		}, objstore.WithRecursiveIter())
		if err != nil {
			return p, fmt.Errorf("prune: list %s: %w", dir, err)
		}
	}
	if k.DryRun {
		p.Objects = len(gone)
		return p, nil
	}
	p.Objects, err = b.forget(ctx, gone)
	return p, err
}

// forget removes objects that no backup needed, unless one has come to need them meanwhile, which is looked for as late as can be. One
// that comes even later is told: it cannot be restored.
func (b *Bucket) forget(ctx context.Context, names []string) (removed int, err error) {
	needed, err := b.needed(ctx)
	if err != nil {
		return 0, err
	}
	var mu sync.Mutex
	gone := map[string]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(b.o.Workers)
	for _, name := range names {
		if needed[name] != "" {
			continue
		}
		g.Go(func() error {
			a, err := b.bucket.Attributes(gctx, name)
			switch {
			case err != nil && b.bucket.IsObjNotFoundErr(err):
				return nil
			case err != nil:
				return fmt.Errorf("look for object %s: %w", name, err)
			case b.o.Now().Sub(a.LastModified) < b.o.Grace:
				return nil // a backup has uploaded it anew
			}
			mu.Lock()
			gone[name] = true
			mu.Unlock()
			return b.remove(gctx, []string{name}, false)
		})
	}
	if err := g.Wait(); err != nil {
		return len(gone), err
	}
	if needed, err = b.needed(ctx); err != nil {
		return len(gone), err
	}
	for name, id := range needed {
		if gone[name] {
			if ok, err := b.bucket.Exists(ctx, name); err != nil || !ok {
				return len(gone), errors.Join(err, fmt.Errorf("prune: backup %s was made meanwhile, and needs object %s, which was removed: make that backup again, which mends both", id, name))
			}
		}
	}
	return len(gone), nil
}

// needed are the objects that backups need, each with the id of one.
func (b *Bucket) needed(ctx context.Context) (map[string]string, error) {
	all, _, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	needed := map[string]string{}
	for _, m := range all {
		for _, f := range m.Files {
			needed[f.Object] = m.ID.String()
		}
	}
	return needed, nil
}

// forgettable reports whether an object without a manifest may be removed: one of a backup, or what a kill left of one.
func forgettable(name string) bool {
	base := path.Base(name)
	return ours(name) || strings.HasPrefix(base, ".") && strings.HasSuffix(base, unfinished)
}

func (b *Bucket) remove(ctx context.Context, names []string, dry bool) error {
	if dry {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.o.Workers)
	for _, name := range names {
		g.Go(func() error {
			if err := b.bucket.Delete(ctx, name); err != nil && !b.bucket.IsObjNotFoundErr(err) {
				return fmt.Errorf("remove object %s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}
