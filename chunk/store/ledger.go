package store

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// ledger keeps digests that were worked out by reading, and stay known while samples are appended: the digest of a partition in a
// window is what the ledger has plus the sums that the registry has of its series.
//
// A leaf is unknown, until somebody begins to count it. It is known when what was counted is put there, unless
// something happened in between that is in no sum: then it is unknown again. The sum that a series had when it was counted is taken off.
type ledger struct {
	one    sync.Mutex // one at a time counts; before gate and viewMu
	mu     sync.Mutex // guards exchanges of sheets
	sheets atomic.Pointer[map[int64]*sheet]
	clock  uint64 // of uses of sheets; guarded by one
}

// maxSheets is how many windows the ledger knows at most, in 25 MB. Of a window that lies in one block the block knows the digests.
const maxSheets = 256

// sheet is the leaves of a window of package chunk.
type sheet struct {
	used   uint64     // guarded by ledger.one
	mu     sync.Mutex // guards sums and counts of settled
	leaves [shard.Partitions]leaf
}

type leaf struct {
	state   atomic.Uint32
	settled uint32        // how often a sum was added
	sum     series.Digest // while it is known
}

// The states of a leaf.
const (
	unknown uint32 = iota
	counting
	known
)

func (l *ledger) sheet(window int64) *sheet {
	all := l.sheets.Load()
	if all == nil {
		return nil
	}
	return (*all)[window]
}

// Settled implements [head.Ledger].
func (l *ledger) Settled(partition uint16, window int64, sum series.Digest) {
	sh := l.sheet(window)
	if sh == nil {
		return
	}
	f := &sh.leaves[partition]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f.settled++
	switch f.state.Load() {
	case known:
		f.sum = f.sum.Plus(sum)
	case counting: // nobody knows whether the series was counted with this sum
		f.state.Store(unknown)
	}
}

// Doubted implements [head.Ledger].
func (l *ledger) Doubted(partition uint16, window int64) {
	if sh := l.sheet(window); sh != nil {
		sh.leaves[partition].doubt()
	}
}

func (f *leaf) doubt() {
	if f.state.Load() != unknown {
		f.state.Store(unknown)
	}
}

// forget makes the leaves of some partitions unknown whose windows overlap [mint, maxt]. What has changed there can be read already.
func (l *ledger) forget(mint, maxt int64, parts *shard.Set) {
	all := l.sheets.Load()
	if all == nil {
		return
	}
	for w, sh := range *all {
		if w < chunk.Window(mint) || w > chunk.Window(maxt) {
			continue
		}
		for p := range parts.Partitions() {
			sh.leaves[p].doubt()
		}
	}
}

// reset forgets everything.
func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sheets.Store(nil)
}

// open returns the sheet of a window, an empty one if there is none. It takes the place of the one that was not used for longest when
// there are too many. The caller holds one.
func (l *ledger) open(window int64) *sheet {
	l.clock++
	sh := l.sheet(window)
	if sh == nil {
		sh = &sheet{}
		l.edit(func(all map[int64]*sheet) {
			if len(all) >= maxSheets {
				oldest := window
				for w, o := range all {
					if oldest == window || o.used < all[oldest].used {
						oldest = w
					}
				}
				delete(all, oldest)
			}
			all[window] = sh
		})
	}
	sh.used = l.clock
	return sh
}

// close forgets a window.
func (l *ledger) close(window int64) {
	if l.sheet(window) != nil {
		l.edit(func(all map[int64]*sheet) { delete(all, window) })
	}
}

// edit exchanges the sheets for others: those who read them take no lock.
func (l *ledger) edit(f func(map[int64]*sheet)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[int64]*sheet{}
	if old := l.sheets.Load(); old != nil {
		all = maps.Clone(*old)
	}
	f(all)
	l.sheets.Store(&all)
}

// begin makes leaves ready to be counted: from now on, what is in no sum makes them unknown.
func (sh *sheet) begin(parts *shard.Set) {
	for p := range parts.Partitions() {
		sh.leaves[p].state.Store(counting)
	}
}

// end puts what was counted there, less the sums of the series when they were.
func (sh *sheet) end(parts *shard.Set, counted, sums *[shard.Partitions]series.Digest) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for p := range parts.Partitions() {
		f := &sh.leaves[p]
		f.sum = counted[p].Minus(sums[p])
		f.state.CompareAndSwap(counting, known)
	}
}
