package backup

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thanos-io/objstore"

	"github.com/minitrue/minitrue/cmd/internal/fixture"
)

// interrupted is a bucket where something happens before its first object is removed.
type interrupted struct {
	objstore.Bucket
	once sync.Once
	do   func()
}

func (i *interrupted) Delete(ctx context.Context, name string) error {
	if strings.HasPrefix(name, "blocks/") || strings.HasPrefix(name, "files/") {
		i.once.Do(i.do)
	}
	return i.Bucket.Delete(ctx, name)
}

// seeing is a bucket whose first look for manifests is followed by something.
type seeing struct {
	objstore.Bucket
	once sync.Once
	do   func()
}

func (s *seeing) Iter(ctx context.Context, dir string, f func(string) error, o ...objstore.IterOption) error {
	err := s.Bucket.Iter(ctx, dir, f, o...)
	if dir == manifests {
		s.once.Do(s.do)
	}
	return err
}

// A backup that is made while a prune is at work is whole, or one of the two fails: whoever has said that it went well has told the truth.
func TestBackupWhilePruneIsAtWork(t *testing.T) {
	for name, during := range map[string]func(objstore.Bucket, func()) objstore.Bucket{
		"after it listed":   func(b objstore.Bucket, do func()) objstore.Bucket { return &seeing{Bucket: b, do: do} },
		"before it removes": func(b objstore.Bucket, do func()) objstore.Bucket { return &interrupted{Bucket: b, do: do} },
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			clock := func() time.Time { return now }
			root := t.TempDir()
			bucket, err := openFolder(root)
			if err != nil {
				t.Fatal(err)
			}
			here, there := dataFolder(t), t.TempDir()
			fixture.Fill(t, there, 5000, 5010, true)
			b := New(bucket, Options{Now: clock})
			create(t, b, here)
			now = now.Add(time.Hour)
			create(t, b, there) // another node's, which is the newest
			now = now.Add(72 * time.Hour)

			var m Manifest
			var made error
			prune := New(during(bucket, func() { m, _, made = b.Create(t.Context(), here, "") }), Options{Now: clock})
			_, pruned := prune.Prune(t.Context(), Keep{Last: 1})
			if m.ID.IsZero() {
				t.Fatal("nothing was in between")
			}
			if made != nil || pruned != nil {
				t.Logf("backup: %v; prune: %v", made, pruned)
				return
			}
			if err := b.Restore(t.Context(), m, filepath.Join(t.TempDir(), "data")); err != nil {
				t.Error(err)
			}
		})
	}
}
