//go:build !linux

package wal

import "os"

type diskFile struct{ *os.File }

// Reserve makes the file size bytes long.
func (f diskFile) Reserve(size int64) error { return f.Truncate(size) }

func createFile(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func mapFile(path string) (b []byte, unmap func(), err error) {
	b, err = os.ReadFile(path)
	return b, func() {}, err
}
