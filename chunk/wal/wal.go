package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/disk"
)

// Options of a log. The zero value is usable.
type Options struct {
	SegmentSize int64                 // bytes; 0 means 64 MiB
	Interval    time.Duration         // 0 means that Sync returns after the fsync; else Run syncs this often
	FS          disk.FS               // nil means disk.OS
	Logger      *slog.Logger          // nil means none
	Registerer  prometheus.Registerer // nil means that metrics are not shown
}

func (o Options) withDefaults() Options {
	if o.SegmentSize == 0 {
		o.SegmentSize = 64 << 20
	}
	o.SegmentSize = min(o.SegmentSize, maxSegment/2)
	if o.FS == nil {
		o.FS = disk.OS
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Position is a place in the stream of appended records; later ones are greater.
type Position uint64

// WAL is an open log. Its methods may be called from many goroutines.
//
// Lock order: commit, then mu. drop is taken alone.
type WAL struct {
	dir string
	o   Options
	m   metrics

	mu      sync.Mutex // guards pending and last
	pending []byte     // a place for a Commit, and frames that are not written yet
	last    Position   // of the last appended record

	drop  sync.Mutex    // held during Drop, which changes first
	first atomic.Uint64 // the oldest segment

	commit  sync.Mutex // held while writing; guards the fields below
	spare   []byte     // the buffer that pending will swap with
	file    disk.File  // nil after an error, until the next try
	failed  bool       // a write failed, and there was no Rotate since
	number  uint64     // of the open segment
	offset  int64      // where the next write goes
	length  int64      // of the open segment's file, with the zeros behind offset
	durable int64      // the offset in the open segment up to which it is synced
	written Position   // everything up to here has been given to the file, or is lost
	lost    []span     // what failed writes took with them

	synced   atomic.Uint64 // the Position up to which everything is durable, or lost
	failures atomic.Uint64 // writes that failed; counted before synced moves past what they lost
}

// span is the positions after from, up to and including to.
type span struct{ from, to Position }

// ErrLost is wrapped by the error of a Sync whose records will never be in the
// log: a write failed, and what was waiting was dropped. The caller appends again.
var ErrLost = errors.New("the log could not be written")

// Open replays a log and opens it for appending. replay is called for every record in
// order; the record is valid during the call only. Interrupted writes at the very
// end are cut off; anything else that is damaged gives a [*CorruptError].
func Open(dir string, o Options, replay func(segment uint64, typ Type, rec []byte) error) (*WAL, error) {
	o = o.withDefaults()
	if err := disk.MkdirAll(o.FS, dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	ns, err := Segments(dir)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	w := &WAL{dir: dir, o: o, m: newMetrics(o.Registerer)}
	if ns, err = w.finishDrop(ns); err != nil {
		return nil, err
	}
	if ns, err = w.dropUnborn(ns); err != nil {
		return nil, err
	}
	for i, n := range ns {
		if i > 0 && n != ns[i-1]+1 {
			return nil, &CorruptError{w.path(ns[i-1] + 1), 0, "the segment is missing"}
		}
		if err := w.replaySegment(n, i == len(ns)-1, replay); err != nil {
			return nil, err
		}
		w.number = n
	}
	w.first.Store(w.number + 1)
	if len(ns) > 0 {
		w.first.Store(ns[0])
	}
	if err := w.open(w.number + 1); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *WAL) path(n uint64) string { return filepath.Join(w.dir, segmentName(n)) }

// Append copies a record into the log's memory. It is durable when Sync of the
// returned position has returned nil.
func (w *WAL) Append(typ Type, rec []byte) (Position, error) {
	if len(rec) > maxRecord {
		return 0, fmt.Errorf("append to log: a record of %d bytes is over the limit of %d", len(rec), maxRecord)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		w.pending = append(w.pending, make([]byte, commitSize)...)
	}
	w.pending = appendFrame(w.pending, typ, rec)
	w.last++
	return w.last, nil
}

// Sync returns when everything up to a position is durable; with an Interval, when
// it has been given to the operating system. After an error, what waited is lost, and so
// is all that is appended until Rotate: the error wraps [ErrLost] for everybody who waited.
func (w *WAL) Sync(p Position) error {
	if w.synced.Load() >= uint64(p) && w.failures.Load() == 0 {
		return nil
	}
	w.commit.Lock()
	defer w.commit.Unlock()
	if w.isLost(p) {
		return ErrLost
	}
	if w.synced.Load() >= uint64(p) || w.o.Interval > 0 && w.written >= p {
		return nil
	}
	return w.write(w.o.Interval == 0)
}

// isLost reports whether a failed write took a position with it. The caller holds commit.
func (w *WAL) isLost(p Position) bool {
	for _, l := range w.lost {
		if l.from < p && p <= l.to {
			return true
		}
	}
	return false
}

// write writes what is pending and syncs it if asked. The caller holds commit.
func (w *WAL) write(sync bool) error {
	w.mu.Lock()
	buf, last := w.pending, w.last
	w.pending = w.spare[:0]
	w.mu.Unlock()
	w.spare = buf
	before := w.written
	w.written = last
	if w.failed {
		w.lose(span{before, last})
		return ErrLost
	}
	if err := w.writeOut(buf, sync); err != nil {
		w.fail(span{before, last})
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	if cap(w.spare) > 8<<20 {
		w.spare = nil // one giant batch must not be remembered for ever
	}
	return nil
}

func (w *WAL) writeOut(buf []byte, sync bool) error {
	if w.offset > headerSize && w.offset+int64(len(buf)) > w.o.SegmentSize {
		if err := w.seal(); err != nil {
			return err
		}
		if err := w.open(w.number + 1); err != nil {
			return err
		}
	}
	if len(buf) > 0 {
		if err := w.reserve(w.offset + int64(len(buf))); err != nil {
			return err
		}
		putCommit(buf, w.durable)
		if _, err := w.file.WriteAt(buf, w.offset); err != nil {
			return fmt.Errorf("write log segment %s: %w", w.path(w.number), err)
		}
		w.offset += int64(len(buf))
		w.m.bytes.Add(float64(len(buf)))
	}
	if !sync || w.durable == w.offset {
		return nil
	}
	start := time.Now()
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync log segment %s: %w", w.path(w.number), err)
	}
	w.m.sync.Observe(time.Since(start).Seconds())
	w.durable = w.offset
	w.synced.Store(uint64(w.written))
	return nil
}

// Failures counts the writes that failed. While it stays the same, what was appended meanwhile is not lost.
func (w *WAL) Failures() uint64 { return w.failures.Load() }

// Run syncs every Interval until ctx ends. Without an Interval it only waits.
func (w *WAL) Run(ctx context.Context) error {
	if w.o.Interval == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(w.o.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := w.SyncAll(); err != nil {
				w.o.Logger.Error("log could not be synced", "err", err)
			}
		}
	}
}

// SyncAll makes everything appended so far durable, whatever the Interval.
func (w *WAL) SyncAll() error {
	w.commit.Lock()
	defer w.commit.Unlock()
	return w.write(true)
}

// Close syncs and seals the log.
func (w *WAL) Close() error {
	w.commit.Lock()
	defer w.commit.Unlock()
	return errors.Join(w.write(true), w.seal())
}
