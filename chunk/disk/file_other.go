//go:build !linux

package disk

import "os"

type file struct{ *os.File }

// Reserve makes the file size bytes long.
func (f *file) Reserve(size int64) error { return f.Truncate(size) }
