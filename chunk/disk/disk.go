// Package disk is the door through which storage changes files and folders. Tests put disks behind it that fail, or that
// forget at a power cut what was never synced (package powercut). What is read is read past it.
package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// File is one that is open for writing.
type File interface {
	io.Writer // behind what Write wrote before
	io.WriterAt
	Reserve(size int64) error // makes it size bytes long, which is longer than it was, with zeros that have their room
	Truncate(size int64) error
	Sync() error // makes its content and its length durable; its name is durable after SyncDir
	Close() error
}

// FS changes what is on a disk. Errors are those of package os.
type FS interface {
	Create(path string) (File, error) // a new file, or emptied
	Open(path string) (File, error)   // one that exists, to be changed
	Mkdir(path string) error          // a folder that does not exist
	Rename(from, to string) error     // replaces a file that exists
	Link(from, to string) error       // another name of a file
	Remove(path string) error         // a file or an empty folder
	SyncDir(path string) error        // makes the names in a folder durable
}

// OS is the disk itself.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Create(path string) (File, error) {
	return open(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
}
func (osFS) Open(path string) (File, error) { return open(path, os.O_RDWR) }
func (osFS) Mkdir(path string) error        { return os.Mkdir(path, 0o755) }
func (osFS) Rename(from, to string) error   { return os.Rename(from, to) }
func (osFS) Link(from, to string) error     { return os.Link(from, to) }
func (osFS) Remove(path string) error       { return os.Remove(path) }

func (osFS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func open(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &file{File: f}, nil
}

// MkdirAll makes a folder and those above it that do not exist, all durable.
func MkdirAll(fs FS, dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := MkdirAll(fs, above); err != nil {
			return err
		}
	}
	if err := fs.Mkdir(dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return fs.SyncDir(above)
}

// RemoveAll removes a file, or a folder and all that is in it. What does not exist is no error.
func RemoveAll(fs FS, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := RemoveAll(fs, filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := fs.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// WriteFile writes a file by way of another beside it: after a crash the file is what it was before, or all of b.
func WriteFile(fs FS, path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fs.Remove(tmp))
	}
	if err := fs.Rename(tmp, path); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}
