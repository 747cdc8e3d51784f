package hint

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/disk"
)

// tail is the segment that is being written. Its file is written by whoever holds the queue's mu, and synced by anybody.
type tail struct {
	file    disk.File
	folder  func() error // makes the file's name durable
	written atomic.Int64 // bytes of whole hints in the file
	broken  atomic.Bool  // a sync failed: nothing more is written here

	syncing sync.Mutex // guards the fields below, and is never held when mu is taken
	synced  int64      // bytes that a power cut cannot take
	named   bool
	err     error // why there will be no more
}

// sync returns when the first bytes of the segment are durable. Who comes first does the work for all that have been written by then. After
// an error nothing is known of what was not synced, and a later success of the disk would not mean that it is there.
func (t *tail) sync(bytes int64) error {
	t.syncing.Lock()
	defer t.syncing.Unlock()
	return t.flush(bytes)
}

// flush is sync with syncing held.
func (t *tail) flush(bytes int64) error {
	if t.synced >= bytes {
		return nil
	}
	if t.err != nil {
		return t.err
	}
	n := t.written.Load()
	err := t.file.Sync()
	if err == nil && !t.named {
		err = t.folder()
	}
	if err != nil {
		t.err = err
		t.broken.Store(true)
		return err
	}
	t.synced, t.named = n, true
	return nil
}

// seal ends the segment: what is in it is durable, and its file is closed.
func (t *tail) seal() error {
	t.syncing.Lock()
	defer t.syncing.Unlock()
	err := errors.Join(t.flush(t.written.Load()), t.file.Close())
	if t.err == nil {
		t.err = os.ErrClosed
	}
	return err
}

// cut takes away what a failed write has left, and seals the segment.
func (t *tail) cut() error {
	t.syncing.Lock()
	err := t.file.Truncate(t.written.Load())
	t.syncing.Unlock()
	return errors.Join(err, t.seal())
}
