package hint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/disk"
)

// Options of a store. The zero value is usable.
type Options struct {
	MaxBytes   int64                 // on disk, of all peers together; 0 means 1 GiB
	MaxAge     time.Duration         // older hints are dropped; 0 means 24h
	Commit     bool                  // Append returns when the hint is synced, one sync for all who wait; else Run syncs
	Interval   time.Duration         // how often Run syncs; 0 means 1s
	Missing    string                // what comes of hints that are lost, for logs; "" means that repair finds it
	Subsystem  string                // of the metrics; "" means hint
	FS         disk.FS               // nil means disk.OS
	Now        func() time.Time      // nil means time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen

	// Tail is for a peer that is there and gets everything: the segment that is written stays, though all of it was sent, and what was sent
	// is remembered for the next process.
	Tail bool
}

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.MaxAge == 0 {
		o.MaxAge = 24 * time.Hour
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Missing == "" {
		o.Missing = "what was in them is repaired by comparing digests"
	}
	if o.Subsystem == "" {
		o.Subsystem = "hint"
	}
	if o.FS == nil {
		o.FS = disk.OS
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// What an Append that keeps nothing answers.
var (
	ErrFull   = errors.New("there is no room for more hints")
	ErrClosed = errors.New("the hints are closed")
)

// Store keeps hints by peer. Its methods may be called from many goroutines.
type Store struct {
	dir     string
	o       Options
	segment int64        // how large a segment gets before the next one is begun
	total   atomic.Int64 // bytes of all segments
	dropped *prometheus.CounterVec

	mu     sync.Mutex        // guards the fields below; taken before a queue's
	queues map[string]*queue // by peer
	closed bool
}

// Open opens the hints in a folder, which is made when it is not there.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, o: o.withDefaults(), segment: segmentBytes, queues: map[string]*queue{}}
	if o.Tail {
		s.segment = min(s.segment, max(1, s.o.MaxBytes/8)) // of a segment that stays, most may have been sent
	}
	s.dropped = newDropped(o.Registerer, s.o.Subsystem, s.total.Load)
	if err := disk.MkdirAll(s.o.FS, dir); err != nil {
		return nil, fmt.Errorf("open hints: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open hints: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !validPeer(e.Name()) {
			continue
		}
		q := s.newQueue(e.Name())
		if err := q.load(); err != nil {
			return nil, fmt.Errorf("open hints of %s: %w", e.Name(), err)
		}
		s.queues[e.Name()] = q
	}
	return s, nil
}

// validPeer says whether a node id can be the name of a folder.
func validPeer(id string) bool {
	return id != "" && len(id) <= 200 && id[0] != '.' && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

func (s *Store) newQueue(peer string) *queue {
	return &queue{s: s, peer: peer, dir: filepath.Join(s.dir, peer)}
}

// Append keeps a hint for a peer. It copies the body. The hint survives a crash of this process at once, and a power
// cut after [Store.Sync], which Run does, or at once with Commit. [ErrFull] means that there is no room; after any other error the hint
// may be replayed all the same.
func (s *Store) Append(peer string, h Hint) error {
	if !validPeer(peer) || len(h.Body) > maxBody {
		return fmt.Errorf("append hint of %d bytes for node %.200q: such a node or such a size is not possible", len(h.Body), peer)
	}
	size := int64(frameHead + len(h.Body))
	if !s.reserve(size) {
		s.expire()
		if !s.reserve(size) {
			s.dropped.WithLabelValues(dropFull).Add(float64(size))
			return fmt.Errorf("append hint for node %s: %w: they may take %d bytes", peer, ErrFull, s.o.MaxBytes)
		}
	}
	in, bytes, err := s.append(peer, h)
	switch {
	case err != nil:
		s.total.Add(-size)
		s.dropped.WithLabelValues(dropDisk).Add(float64(size))
	case s.o.Commit:
		err = in.sync(bytes)
	}
	if err != nil {
		return fmt.Errorf("append hint for node %s: %w", peer, err)
	}
	return nil
}

// reserve takes room for a frame.
func (s *Store) reserve(size int64) bool {
	if s.total.Add(size) <= s.o.MaxBytes {
		return true
	}
	s.total.Add(-size)
	return false
}

func (s *Store) append(peer string, h Hint) (in *tail, bytes int64, err error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, 0, ErrClosed
		}
		q := s.queues[peer]
		if q == nil {
			q = s.newQueue(peer)
			s.queues[peer] = q
		}
		s.mu.Unlock()
		if in, bytes, err = q.append(h); !errors.Is(err, errGone) {
			return in, bytes, err
		}
	}
}

// Pending is how many bytes of hints a peer has not got yet.
func (s *Store) Pending(peer string) int64 {
	if q := s.queue(peer); q != nil {
		return q.pending()
	}
	return 0
}

func (s *Store) queue(peer string) *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues[peer]
}

// all are the queues, by peer.
func (s *Store) all() []*queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	qs := make([]*queue, 0, len(s.queues))
	for _, q := range s.queues {
		qs = append(qs, q)
	}
	slices.SortFunc(qs, func(a, b *queue) int { return strings.Compare(a.peer, b.peer) })
	return qs
}

// Peers are those that have hints, sorted.
func (s *Store) Peers() []string {
	var peers []string
	for _, q := range s.all() {
		if q.pending() > 0 {
			peers = append(peers, q.peer)
		}
	}
	return peers
}

// Forget drops all hints of a peer, which will never be there again.
func (s *Store) Forget(peer string) error {
	s.mu.Lock()
	q := s.queues[peer]
	if q == nil {
		s.mu.Unlock()
		return nil
	}
	delete(s.queues, peer)
	// The folder is gone before another queue of this peer can exist.
	err := q.forget()
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("forget hints of node %s: %w", peer, err)
	}
	return nil
}

// Sync makes durable what was appended.
func (s *Store) Sync() error {
	var errs []error
	for _, q := range s.all() {
		if err := q.sync(); err != nil {
			errs = append(errs, fmt.Errorf("sync hints of node %s: %w", q.peer, err))
		}
	}
	return errors.Join(errs...)
}

// expire drops segments whose newest hint is too old.
func (s *Store) expire() {
	before := s.o.Now().Add(-s.o.MaxAge)
	for _, q := range s.all() {
		q.expire(before)
	}
}

// Run syncs once an interval, and drops what gets too old, until the context ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.o.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.Sync(); err != nil {
			s.o.Logger.Error("hints could not be synced", "err", err)
		}
		s.expire()
	}
}

// Close makes everything durable and closes the files. Later Appends fail with [ErrClosed].
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var errs []error
	for _, q := range s.all() {
		errs = append(errs, q.close())
	}
	return errors.Join(errs...)
}
