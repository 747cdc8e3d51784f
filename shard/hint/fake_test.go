package hint

import (
	"errors"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/disk"
)

// sickDisk fails to write while fail is set.
type sickDisk struct {
	disk.FS
	fail atomic.Bool
}

var errSick = errors.New("no space left on device")

func (d *sickDisk) Create(path string) (disk.File, error) {
	f, err := d.FS.Create(path)
	return &sickFile{f, d}, err
}

type sickFile struct {
	disk.File
	d *sickDisk
}

// Write leaves half of it behind.
func (f *sickFile) Write(p []byte) (int, error) {
	if f.d.fail.Load() {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, errSick
	}
	return f.File.Write(p)
}

func (f *sickFile) Truncate(size int64) error {
	if f.d.fail.Load() {
		return errSick
	}
	return f.File.Truncate(size)
}
