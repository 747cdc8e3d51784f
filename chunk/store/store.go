package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/tsdb/fileutil"
	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/wal"
	"github.com/minitrue/minitrue/shard"
)

// Store is an open data folder. Its methods may be called from many goroutines.
type Store struct {
	dir  string
	o    Options
	m    metrics
	lock fileutil.Releaser
	wal  *wal.WAL

	cache     *block.Cache
	exemplars *exemplars
	metadata  *metadata
	ledger    ledger

	gate   sync.RWMutex // see the package comment; guards active, sums and outs
	active *table
	sums   bool       // registries add up digests
	outs   uint64     // how often memtables were put out of step
	logMu  sync.Mutex // held while keys and metadata are written to the log

	viewMu sync.Mutex // guards tables, blocks, coarse, tombs, masks and own
	tables []*table   // the active one first, then frozen ones from new to old
	blocks []*block.Block
	coarse []*block.Block // downsampled ones
	tombs  tombstoneFile
	aged   time.Time             // when the cache was last told so; see view
	masks  map[*block.Block]mask // of blocks that tombstones hide something of; replaced, never changed
	own    *shard.Set            // see Own; never changed

	refused atomic.Bool   // a new series was, because of MaxSeries, since the last look at what is idle
	looked  time.Time     // when idle series were last counted; runFlush's alone
	broken  atomic.Bool   // the log failed; writes are refused until it is mended
	stuck   atomic.Bool   // the last flush failed; writes are refused when memory is full
	full    chan struct{} // a signal that a memtable wants to be frozen or flushed
	merge   chan struct{} // a signal that blocks have changed
	room    *sync.Cond    // on viewMu: a frozen memtable has gone
	flushMu sync.Mutex    // one flush at a time; guards undropped and lessExemplars
	haste   atomic.Int32  // somebody waits for a flush

	undropped     uint64 // the log below this segment lies in blocks, and is still there; 0: none is
	lessExemplars bool   // exemplars were deleted that are still in the log

	tombMu    sync.Mutex                 // held by who changes tombs or masks; after flushMu and compactMu, before viewMu; guards unsure
	unsure    bool                       // the tombstones on disk may be others than tombs
	damageMu  sync.Mutex                 // one at a time sees to a damaged block; after compactMu, before tombMu; guards aside
	aside     map[string]bool            // folders of blocks that were set aside while they were open
	compactMu sync.Mutex                 // one at a time who compacts or deletes; guards what follows
	empty     map[int64][]block.Coverage // by resolution: days that turned out to have no samples
	emptyFor  *shard.Set                 // what was owned then
	foreign   *foreign                   // nil: nothing is known
	left      []string                   // folders of blocks that are out of the view and could not be removed
}

// Open locks and opens a data folder, and replays its log. It returns when the
// store is ready to be read and written. Run must be called for it to flush, merge and forget.
func Open(dir string, o Options) (_ *Store, err error) {
	o = o.withDefaults()
	if err := disk.MkdirAll(o.FS, filepath.Join(dir, "blocks")); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := o.FS.SyncDir(dir); err != nil { // a start that was killed may have made the folders, and not their names durable
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		dir: dir, o: o, cache: block.NewCache(o.CacheBytes),
		exemplars: newExemplars(o.Exemplars), metadata: newMetadata(o.Metadata),
		aside: map[string]bool{}, empty: map[int64][]block.Coverage{}, full: make(chan struct{}, 1), merge: make(chan struct{}, 1),
	}
	s.room = sync.NewCond(&s.viewMu)
	s.m = newMetrics(o.Registerer, s)
	if s.lock, _, err = fileutil.Flock(filepath.Join(dir, "lock")); err != nil {
		return nil, fmt.Errorf("open store: the data folder %s is in use by another process: %w", dir, err)
	}
	defer func() {
		if err != nil {
			s.closeBlocks()
			s.lock.Release()
		}
	}()
	if err := s.openBlocks(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.cleanSnapshots(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.loadTombstones(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.active = newTable(s.newRegistry(), o.Now())
	s.outOfStep()
	s.viewMu.Lock() // somebody may ask for metrics already
	s.tables = []*table{s.active}
	s.viewMu.Unlock()
	if err := s.replay(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (s *Store) blocksDir() string { return filepath.Join(s.dir, "blocks") }

// Run flushes, merges and forgets until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.wal.Run(ctx) })
	g.Go(func() error { return s.runFlush(ctx) })
	g.Go(func() error { return s.runCompact(ctx) })
	return g.Wait()
}

// Close makes everything durable and closes the store. Nobody may use it any more, and
// Run has returned.
func (s *Store) Close() error {
	s.gate.Lock()
	defer s.gate.Unlock()
	err := s.wal.Close()
	s.closeBlocks()
	s.viewMu.Lock()
	for _, t := range s.tables {
		t.release()
	}
	s.tables = nil
	s.viewMu.Unlock()
	return errors.Join(err, s.lock.Release())
}

func (s *Store) closeBlocks() {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	for _, b := range slices.Concat(s.blocks, s.coarse) {
		b.Release()
	}
	s.blocks, s.coarse = nil, nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
