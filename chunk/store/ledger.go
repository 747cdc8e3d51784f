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
	groups int    // of the sheets, about; guarded by one
	recent recent // counted is guarded by one
}

// What the ledger has room for: leaves take 25 MB, and sheets 5 MB. What lies in one block alone is not there: the block knows its digests.
const (
	maxGroups = 1 << 14
	maxSheets = 1 << 13
)

// groupSize is how many partitions lie together, so that a window of which few are wanted takes little room.
const groupSize = 64

// sheet is the leaves of a window of package chunk.
type sheet struct {
	used   uint64 // guarded by ledger.one, as the making of groups is
	groups [shard.Partitions / groupSize]atomic.Pointer[[groupSize]leaf]

	mu sync.Mutex // guards sum and settled of leaves
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

// leaf returns a leaf, nil if it is unknown.
func (sh *sheet) leaf(partition uint16) *leaf {
	if sh == nil {
		return nil
	}
	g := sh.groups[partition/groupSize].Load()
	if g == nil {
		return nil
	}
	return &g[partition%groupSize]
}

// Settled implements [head.Ledger].
func (l *ledger) Settled(partition uint16, window int64, sum series.Digest) {
	sh := l.sheet(window)
	f := sh.leaf(partition)
	if f == nil {
		return
	}
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
func (l *ledger) Doubted(partition uint16, window int64) { l.sheet(window).leaf(partition).doubt() }

func (f *leaf) doubt() {
	if f != nil && f.state.Load() != unknown {
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
			sh.leaf(p).doubt()
		}
	}
}

// reset forgets everything.
func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sheets.Store(nil)
}

// open returns the sheet of a window, an empty one if there is none. Those that were not used for longest go when there are
// too many. The caller holds one.
func (l *ledger) open(window int64) *sheet {
	l.clock++
	sh := l.sheet(window)
	if sh == nil {
		sh = &sheet{}
		l.edit(func(all map[int64]*sheet) {
			for len(all) >= maxSheets || len(all) > 0 && l.groups > maxGroups {
				l.evict(all)
			}
			all[window] = sh
		})
	}
	sh.used = l.clock
	return sh
}

// evict lets go of the sheet that was not used for longest.
func (l *ledger) evict(all map[int64]*sheet) {
	first, oldest := true, int64(0)
	for w, sh := range all {
		if first || sh.used < all[oldest].used {
			first, oldest = false, w
		}
	}
	delete(all, oldest)
	l.groups = 0
	for _, sh := range all {
		l.groups += sh.size()
	}
}

// size is how many groups a sheet has.
func (sh *sheet) size() (n int) {
	for i := range sh.groups {
		if sh.groups[i].Load() != nil {
			n++
		}
	}
	return n
}

// close forgets a window. The caller holds one.
func (l *ledger) close(window int64) {
	if sh := l.sheet(window); sh != nil {
		l.groups -= sh.size()
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

// begin makes leaves of a sheet ready to be counted: from now on, what is in no sum makes them unknown. The caller holds one.
func (l *ledger) begin(sh *sheet, parts *shard.Set) {
	for p := range parts.Partitions() {
		if g := &sh.groups[p/groupSize]; g.Load() == nil {
			g.Store(new([groupSize]leaf))
			l.groups++
		}
		sh.leaf(p).state.Store(counting)
	}
}

// end puts what was counted there, less the sums that the series had when they were.
func (sh *sheet) end(parts *shard.Set, counted, sums *digests) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for p := range parts.Partitions() {
		f := sh.leaf(p)
		f.sum = counted.of(p).Minus(sums.of(p))
		f.state.CompareAndSwap(counting, known)
	}
}

// digests are those of some partitions.
type digests struct {
	groups [shard.Partitions / groupSize]*[groupSize]series.Digest
}

// at is the place of a partition.
func (d *digests) at(p uint16) *series.Digest {
	g := &d.groups[p/groupSize]
	if *g == nil {
		*g = new([groupSize]series.Digest)
	}
	return &(*g)[p%groupSize]
}

func (d *digests) of(p uint16) series.Digest {
	if g := d.groups[p/groupSize]; g != nil {
		return g[p%groupSize]
	}
	return series.Digest{}
}

func (d *digests) add(p uint16, sum series.Digest) {
	at := d.at(p)
	*at = at.Plus(sum)
}
