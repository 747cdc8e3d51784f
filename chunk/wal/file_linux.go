package wal

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// diskFile syncs with fdatasync, which is cheaper while the size stays the same.
type diskFile struct {
	*os.File
	resized bool // the next sync must write the new size too
}

func (f *diskFile) Truncate(n int64) error {
	f.resized = true
	return f.File.Truncate(n)
}

func (f *diskFile) Sync() error {
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
func (f *diskFile) Reserve(size int64) error {
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

func createFile(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f}, nil
}

// mapFile shows a file's bytes without reading them all.
func mapFile(path string) (b []byte, unmap func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if st.Size() == 0 {
		return nil, func() {}, nil
	}
	b, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return b, func() { _ = unix.Munmap(b) }, nil
}
