package store

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/head"
	"github.com/minitrue/minitrue/shard"
)

// table is a memtable with the registry that its refs are from, and the count of those who
// use it: its memory is given back when the last has released it.
type table struct {
	*head.Memtable
	registry *head.Registry
	users    atomic.Int64
	born     atomic.Int64 // when it was last empty, about; Unix ns
	end      uint64       // when frozen: its log lies in the segments below this one
	failures uint64       // of the log, when this table began; never changed once it is in Store.tables
	part     float64      // of what Options allow, at which it is full or old; guarded by Store.gate
}

// newTable makes a table that releases the registry in the end.
func newTable(r *head.Registry, now time.Time) *table {
	t := &table{Memtable: head.NewMemtable(r), registry: r, part: 1}
	t.born.Store(now.UnixNano())
	t.users.Store(1)
	return t
}

// newRegistry makes a registry. The caller holds gate for writing, or is alone.
func (s *Store) newRegistry() *head.Registry {
	return head.NewRegistry(head.RegistryOptions{DeviceLabel: s.o.DeviceLabel, Ledger: &s.ledger, Sums: s.sums, Past: s.past()})
}

// past are times such that there is no sample at others. The caller holds gate for writing, or is alone.
func (s *Store) past() (past []chunk.Interval) {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	for _, b := range s.blocks {
		m := b.Meta()
		past = append(past, chunk.Interval{Min: m.MinTime, Max: m.MaxTime})
	}
	for _, t := range s.tables {
		if lo, hi := t.Bounds(); lo <= hi {
			past = append(past, chunk.Interval{Min: lo, Max: hi})
		}
	}
	return past
}

func (t *table) release() {
	if t.users.Add(-1) == 0 {
		t.Memtable.Release()
		t.registry.Release()
	}
}

// idleAfter is how much older than the newest sample of a memtable the last one of an idle series is, ms.
const idleAfter = 30 * 60 * 1000

// crowded reports whether more than a quarter of the registry's series are idle.
func (t *table) crowded() bool {
	_, maxT := t.Bounds()
	return 4*t.Recent(max(maxT, math.MinInt64+idleAfter)-idleAfter) < 3*t.registry.Count()
}

// view is what one reader sees: a consistent set of memtables and blocks that
// stays until it is closed.
type view struct {
	store      *Store
	tables     []*table
	registries []*head.Registry // of the tables, from new to old; almost always one
	blocks     []*block.Block
	coarse     []*block.Block // downsampled ones, which are not used before coarsen

	own   *shard.Set            // as Store.own
	masks map[*block.Block]mask // what deletes hide; never changed
	seq   uint64                // of the latest delete that is in masks

	bounds map[*block.Block]bounds   // of the downsampled ones in use
	after  int64                     // with bounds: samples up to this time are not used
	pick   func(chunk.Stats) float64 // with bounds: what stands for a bucket's samples, where samples are wanted
}

// view returns what there is now. The caller closes it.
func (s *Store) view() *view {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	if now := s.o.Now(); now.Sub(s.aged) >= time.Second {
		s.aged = now
		s.cache.Age()
	}
	v := &view{store: s, tables: slices.Clone(s.tables), blocks: slices.Clone(s.blocks), coarse: slices.Clone(s.coarse)}
	v.own, v.masks, v.seq = s.own, s.masks, s.tombs.Seq
	v.pick = func(s chunk.Stats) float64 { return s.Last }
	for _, t := range v.tables {
		t.users.Add(1)
		if n := len(v.registries); n == 0 || v.registries[n-1] != t.registry {
			v.registries = append(v.registries, t.registry)
		}
	}
	for _, b := range v.blocks {
		b.Retain()
	}
	for _, b := range v.coarse {
		b.Retain()
	}
	return v
}

// activeSeries is how many series the newest registry knows.
func (v *view) activeSeries() int {
	if len(v.registries) == 0 {
		return 0 // the store is closed
	}
	return v.registries[0].Count()
}

// leaveMemory gives memtables back that a long reader of blocks does not need: they would stay after they are flushed.
func (v *view) leaveMemory() {
	for _, t := range v.tables {
		t.release()
	}
	v.tables, v.registries = nil, nil
}

func (v *view) close() {
	v.leaveMemory()
	for _, b := range v.blocks {
		if _, coarse := v.bounds[b]; !coarse {
			b.Release()
		}
	}
	for _, b := range v.coarse {
		b.Release()
	}
	v.blocks, v.coarse = nil, nil
}
