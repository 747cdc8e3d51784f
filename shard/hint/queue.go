package hint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minitrue/minitrue/chunk/disk"
)

// segmentBytes is how large a segment gets before the next one is begun.
const segmentBytes = 8 << 20

// queue is the hints of one peer, oldest first.
//
// Lock order: replaying, then mu, then the tail's syncing.
type queue struct {
	s    *Store
	peer string
	dir  string

	replaying sync.Mutex // held by a Replay

	mu       sync.Mutex // guards the fields below
	segments []segment
	sent     int64     // bytes of the first segment that need not be sent any more
	tail     *tail     // the last segment, open for writing; nil when a new one must be begun
	mark     disk.File // see remember; nil until it is needed
	made     bool      // the folder is there
	gone     bool      // forgotten, or closed
	next     uint64    // number of the next segment
	buf      []byte
}

type segment struct {
	number uint64
	size   int64     // bytes that are good, as far as is known
	newest time.Time // when the last hint was appended
}

// errGone: the queue is no longer the store's.
var errGone = errors.New("the queue is gone")

func (q *queue) path(n uint64) string { return filepath.Join(q.dir, fmt.Sprintf("%012d.hint", n)) }

// load finds the segments of an earlier process.
func (q *queue) load() error {
	entries, err := os.ReadDir(q.dir)
	if err != nil {
		return err
	}
	q.made, q.next = true, 1
	for _, e := range entries { // sorted by name
		base, ok := strings.CutSuffix(e.Name(), ".hint")
		n, err := strconv.ParseUint(base, 10, 64)
		if !ok || err != nil || len(base) != 12 {
			continue
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		q.next = n + 1
		q.segments = append(q.segments, segment{n, st.Size(), st.ModTime()})
		q.s.total.Add(st.Size())
	}
	if q.s.o.Tail {
		q.recall()
	}
	return nil
}

// append writes a hint whose room is reserved, and returns where: it is durable once so many bytes of the segment are.
func (q *queue) append(h Hint) (in *tail, bytes int64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return nil, 0, errGone
	}
	if err := q.begin(); err != nil {
		return nil, 0, err
	}
	last, in := &q.segments[len(q.segments)-1], q.tail
	q.buf = appendFrame(q.buf[:0], h)
	if _, err := in.file.Write(q.buf); err != nil {
		// The next hint goes to a new file: what is in this one behind its size is not known.
		q.tail = nil
		err = errors.Join(err, in.cut())
		if n := len(q.segments) - 1; last.size == 0 { // tries on a full disk must not leave a file each
			err = errors.Join(err, q.s.o.FS.Remove(q.path(last.number)))
			q.segments = q.segments[:n]
		}
		return nil, 0, err
	}
	last.size += int64(len(q.buf))
	last.newest = q.s.o.Now()
	in.written.Store(last.size)
	if cap(q.buf) > 4<<20 {
		q.buf = nil
	}
	if last.size >= q.s.segment {
		if err := q.seal(); err != nil { // the hint is there, though a power cut may take it
			q.s.o.Logger.Warn("a file of hints could not be closed", "peer", q.peer, "err", err)
		}
	}
	return in, in.written.Load(), nil
}

// begin sees to it that a file is open.
func (q *queue) begin() error {
	if q.tail != nil && q.tail.broken.Load() {
		_ = q.seal() // whoever waited for it was told
	}
	if q.tail != nil {
		return nil
	}
	if !q.made {
		if err := disk.MkdirAll(q.s.o.FS, q.dir); err != nil {
			return err
		}
		q.made = true
	}
	n := max(q.next, 1)
	f, err := q.s.o.FS.Create(q.path(n))
	if err != nil {
		return err
	}
	q.next, q.tail = n+1, &tail{file: f, folder: func() error { return q.s.o.FS.SyncDir(q.dir) }}
	q.segments = append(q.segments, segment{number: n, newest: q.s.o.Now()})
	return nil
}

// seal ends the open segment.
func (q *queue) seal() error {
	if q.tail == nil {
		return nil
	}
	err := q.tail.seal()
	q.tail = nil
	return err
}

// sync makes durable what was appended before.
func (q *queue) sync() error {
	q.mu.Lock()
	t := q.tail
	q.mu.Unlock()
	if t == nil {
		return nil
	}
	return t.sync(t.written.Load())
}

func (q *queue) pending() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := -q.sent
	for _, s := range q.segments {
		n += s.size
	}
	return n
}

// drop removes the first segment, whatever of it was sent.
func (q *queue) drop() error {
	if len(q.segments) == 1 {
		if err := q.seal(); err != nil {
			q.s.o.Logger.Warn("a file of hints could not be closed", "peer", q.peer, "err", err)
		}
	}
	first := q.segments[0]
	if err := q.s.o.FS.Remove(q.path(first.number)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	q.s.total.Add(-first.size)
	q.segments = slices.Delete(q.segments, 0, 1)
	q.sent = 0
	return nil
}

// expire drops segments whose newest hint was appended before a time.
func (q *queue) expire(before time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.gone && len(q.segments) > 0 && q.segments[0].newest.Before(before) {
		lost := q.segments[0].size - q.sent
		if err := q.drop(); err != nil {
			q.s.o.Logger.Error("old hints could not be removed", "peer", q.peer, "err", err)
			return
		}
		q.s.dropped.WithLabelValues(dropOld).Add(float64(lost))
		q.s.o.Logger.Warn("dropped hints that got too old", "peer", q.peer, "bytes", lost, "max_age", q.s.o.MaxAge)
	}
}

// forget removes everything.
func (q *queue) forget() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = true
	err := errors.Join(q.seal(), q.closeMark())
	for _, s := range q.segments {
		q.s.total.Add(-s.size)
	}
	q.segments, q.sent = nil, 0
	return errors.Join(err, disk.RemoveAll(q.s.o.FS, q.dir))
}

func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = true
	return errors.Join(q.seal(), q.closeMark())
}

func (q *queue) closeMark() error {
	if q.mark == nil {
		return nil
	}
	err := q.mark.Close()
	q.mark = nil
	return err
}
