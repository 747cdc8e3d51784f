package block

import (
	"path/filepath"
	"testing"

	"github.com/minitrue/minitrue/chunk/disk"
)

// unsynced counts what a file was given since it was last synced.
type unsynced struct {
	disk.File
	n, most, syncs int
}

func (u *unsynced) Write(p []byte) (int, error) {
	u.n += len(p)
	u.most = max(u.most, u.n)
	return u.File.Write(p)
}

func (u *unsynced) Sync() error {
	u.n = 0
	u.syncs++
	return u.File.Sync()
}

// A large file is synced while it is written, a small one once.
func TestOutputIsSyncedAsItIsWritten(t *testing.T) {
	for _, row := range []struct{ size, syncs int }{{100 << 10, 1}, {10<<20 + 5, 5}} {
		f, err := disk.OS.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		u := &unsynced{File: f}
		o := newOutput(u)
		for left := row.size; left > 0; left -= min(left, 10<<10) {
			if _, err := o.Write(make([]byte, min(left, 10<<10))); err != nil {
				t.Fatal(err)
			}
		}
		meta, err := o.finish()
		if err != nil || meta.Size != int64(row.size) {
			t.Fatalf("%+v, %v", meta, err)
		}
		if u.n != 0 || u.most > syncEvery+10<<10 || u.syncs != row.syncs {
			t.Errorf("of %d bytes %d are not synced, at most %d were, in %d syncs", row.size, u.n, u.most, u.syncs)
		}
	}
}
