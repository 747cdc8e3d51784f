package disk

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// file syncs with fdatasync, which is cheaper while the size stays the same.
type file struct {
	*os.File
	resized bool // the next sync must write the new size too
}

func (f *file) Truncate(n int64) error {
	f.resized = true
	return f.File.Truncate(n)
}

func (f *file) Sync() error {
	if f.resized {
		f.resized = false
		return f.File.Sync()
	}
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// Reserve sees to it that size bytes have their blocks: a full disk shows here, and not in the middle of a write.
func (f *file) Reserve(size int64) error {
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if err == unix.EOPNOTSUPP {
		return f.Truncate(size)
	}
	if err != nil {
		return &fs.PathError{Op: "reserve", Path: f.Name(), Err: err}
	}
	f.resized = true
	return nil
}
