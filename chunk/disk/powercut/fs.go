package powercut

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/minitrue/minitrue/chunk/disk"
)

// Create implements [disk.FS].
func (d *Disk) Create(path string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, name, err := d.parent(path)
	if err != nil {
		return nil, err
	}
	i, ok := f.now[name].(*inode)
	if ok {
		i.pending = append(i.pending, change{})
	} else {
		i = &inode{}
		f.name(naming{name: i})
	}
	if err := d.change(); err != nil {
		return nil, err
	}
	real, err := disk.OS.Create(path)
	return &file{d: d, i: i, real: real}, err
}

// Open implements [disk.FS].
func (d *Disk) Open(path string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, name, err := d.parent(path)
	if err != nil {
		return nil, err
	}
	i, ok := f.now[name].(*inode)
	if !ok {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	real, err := disk.OS.Open(path)
	return &file{d: d, i: i, real: real}, err
}

// Mkdir implements [disk.FS].
func (d *Disk) Mkdir(path string) error {
	return d.edit(path, func(f *folder, name string) {
		f.name(naming{name: &folder{synced: map[string]any{}, now: map[string]any{}}})
	}, func() error { return disk.OS.Mkdir(path) })
}

// Remove implements [disk.FS].
func (d *Disk) Remove(path string) error {
	return d.edit(path, func(f *folder, name string) { f.name(naming{name: nil}) }, func() error { return disk.OS.Remove(path) })
}

// edit changes a name, or notes that it may be changed when a cut comes first.
func (d *Disk) edit(path string, note func(f *folder, name string), do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, name, err := d.parent(path)
	if err != nil {
		return err
	}
	if err := d.change(); err != nil {
		if _, there := f.now[name]; there {
			note(f, name)
		}
		return err
	}
	if err := do(); err != nil {
		return err
	}
	note(f, name)
	return nil
}

// Rename implements [disk.FS].
func (d *Disk) Rename(from, to string) error { return d.again(from, to, true, disk.OS.Rename) }

// Link implements [disk.FS].
func (d *Disk) Link(from, to string) error { return d.again(from, to, false, disk.OS.Link) }

// again gives a file or a folder another name, and takes its old one away if asked.
func (d *Disk) again(from, to string, away bool, do func(from, to string) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, oldName, err := d.parent(from)
	if err != nil {
		return err
	}
	f, name, err := d.parent(to)
	if err != nil {
		return err
	}
	node, ok := old.now[oldName]
	if !ok {
		return fmt.Errorf("rename %s: %w", from, os.ErrNotExist)
	}
	done := d.change()
	if done == nil {
		if err := do(from, to); err != nil {
			return err
		}
	}
	n := naming{name: node}
	switch {
	case away && f == old:
		n[oldName] = nil
		f.name(n)
	case away:
		f.name(n)
		old.name(naming{oldName: nil})
	default:
		f.name(n)
	}
	return done
}

// SyncDir implements [disk.FS].
func (d *Disk) SyncDir(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, _, err := d.parent(filepath.Join(path, "x"))
	if err != nil {
		return err
	}
	if err := d.change(); err != nil {
		return err
	}
	f.synced, f.pending = maps.Clone(f.now), nil
	return nil
}

// file is an open one.
type file struct {
	d    *Disk
	i    *inode
	real disk.File
	at   int64 // of the next Write
}

// do notes a change of the file and does it.
func (f *file) do(c change, do func() error) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.off {
		return ErrOff
	}
	f.i.pending = append(f.i.pending, c)
	if err := f.d.change(); err != nil {
		return err
	}
	return do()
}

func (f *file) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.do(change{off, append([]byte{}, p...)}, func() error {
		n, err = f.real.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f *file) Write(p []byte) (n int, err error) {
	n, err = f.WriteAt(p, f.at)
	f.at += int64(n)
	return n, err
}

func (f *file) Truncate(size int64) error {
	return f.do(change{at: size}, func() error { return f.real.Truncate(size) })
}

func (f *file) Reserve(size int64) error {
	return f.do(change{at: size}, func() error { return f.real.Reserve(size) })
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.off {
		return ErrOff
	}
	if err := f.d.change(); err != nil {
		return err
	}
	for _, c := range f.i.pending {
		f.i.synced = c.apply(f.i.synced)
	}
	f.i.pending = nil
	return nil
}

func (f *file) Close() error { return f.real.Close() }
