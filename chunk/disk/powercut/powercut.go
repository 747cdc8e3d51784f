// Package powercut is a disk for tests that loses its power: what was not synced by then is there, or not, or torn.
//
// It is as forgetful as file systems may be. Of every file the bytes of the last Sync are certain; each later write, and
// each later change of length, is kept, lost or torn by itself, whatever came after it. Of every folder the names of the
// last SyncDir are certain, and of what was done to them later any beginning is kept.
package powercut

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// ErrOff is the error of everything after a cut.
var ErrOff = errors.New("the power is off")

// Disk is a folder and what of it would outlive a power cut. It implements [disk.FS] for paths in the folder, which nothing else
// changes.
type Disk struct {
	path string

	mu   sync.Mutex
	root *folder
	left int // changes until the power is off; less than 0: it stays on
	off  bool
}

// folder is one on the disk.
type folder struct {
	synced  map[string]any // *folder and *inode
	now     map[string]any
	pending []naming
}

// naming changes names of a folder, all or none. nil takes a name away.
type naming map[string]any

// inode is a file, whatever its names.
type inode struct {
	synced  []byte
	pending []change
}

// change is a write or, when there are no bytes, a new length.
type change struct {
	at int64
	b  []byte
}

// New takes a folder as it is, all of it synced.
func New(path string) (*Disk, error) {
	root, err := read(path)
	return &Disk{path: path, root: root, left: -1}, err
}

func read(path string) (*folder, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	f := &folder{synced: map[string]any{}}
	for _, e := range entries {
		below := filepath.Join(path, e.Name())
		if e.IsDir() {
			if f.synced[e.Name()], err = read(below); err != nil {
				return nil, err
			}
			continue
		}
		b, err := os.ReadFile(below)
		if err != nil {
			return nil, err
		}
		f.synced[e.Name()] = &inode{synced: b}
	}
	f.now = maps.Clone(f.synced)
	return f, nil
}

// CutAfter lets n more changes begin, of which the last is interrupted.
func (d *Disk) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = n
}

// Cut ends all changes.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// Remains writes what is left after a cut into an empty folder.
func (d *Disk) Remains(r *rand.Rand, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.root.remains(luck{r, r.IntN(3)}, to)
}

// luck decides what is kept: nothing, everything, or some of it.
type luck struct {
	r    *rand.Rand
	mode int
}

func (l luck) upTo(n int) int {
	switch l.mode {
	case 0:
		return 0
	case 1:
		return n
	}
	return l.r.IntN(n + 1)
}

func (f *folder) remains(l luck, to string) error {
	names := maps.Clone(f.synced)
	for _, n := range f.pending[:l.upTo(len(f.pending))] {
		n.apply(names)
	}
	for name, node := range names {
		path := filepath.Join(to, name)
		switch node := node.(type) {
		case *folder:
			if err := os.Mkdir(path, 0o755); err != nil {
				return err
			}
			if err := node.remains(l, path); err != nil {
				return err
			}
		case *inode:
			if err := os.WriteFile(path, node.remains(l), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n naming) apply(names map[string]any) {
	for name, node := range n {
		if node == nil {
			delete(names, name)
		} else {
			names[name] = node
		}
	}
}

func (i *inode) remains(l luck) []byte {
	b := append([]byte(nil), i.synced...)
	for _, c := range i.pending {
		kept := l.upTo(len(c.b) + 1) // the last stands for the length
		switch {
		case kept == len(c.b)+1:
			b = c.apply(b)
		case kept > 0:
			torn := change{c.at, c.b[:kept]}
			if l.r.IntN(2) == 0 { // the end got there, and the beginning did not
				torn = change{c.at + int64(len(c.b)-kept), c.b[len(c.b)-kept:]}
			}
			b = torn.apply(b)
		}
	}
	return b
}

func (c change) apply(b []byte) []byte {
	end := c.at + int64(len(c.b))
	if grow := end - int64(len(b)); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	if c.b == nil {
		return b[:c.at]
	}
	copy(b[c.at:], c.b)
	return b
}

// change counts a change and reports whether it is done. One that a cut interrupts is not done, and pending all the same:
// note it first. The caller holds mu.
func (d *Disk) change() error {
	if d.left > 0 {
		d.left--
		d.off = d.left == 0
	}
	if d.off {
		return ErrOff
	}
	return nil
}

// parent finds the folder that a path's last name is in. The caller holds mu.
func (d *Disk) parent(path string) (*folder, string, error) {
	if d.off {
		return nil, "", ErrOff
	}
	rel, err := filepath.Rel(d.path, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return nil, "", fmt.Errorf("%s is not in %s", path, d.path)
	}
	names := strings.Split(rel, string(filepath.Separator))
	f := d.root
	for _, name := range names[:len(names)-1] {
		below, ok := f.now[name].(*folder)
		if !ok {
			return nil, "", &os.PathError{Op: "find", Path: path, Err: os.ErrNotExist}
		}
		f = below
	}
	return f, names[len(names)-1], nil
}

// name changes names in a folder.
func (f *folder) name(n naming) {
	f.pending = append(f.pending, n)
	n.apply(f.now)
}
