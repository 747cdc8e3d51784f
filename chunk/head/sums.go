package head

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// account is what is kept of a series beyond its memtables.
//
// The digest of its samples in a window changes with each that comes. Of one that is later than all before it that is an addition, which
// costs nothing: sum is what was added since the beginning of the window that last lies in. Whoever knows the digest and the sum
// at one moment knows the digest from then on. Any other sample may be there already, or win over one that is: the ledger is
// told that nobody knows any more.
type account struct {
	last int64 // the latest time of a sample, in this registry's memtables
	sum  series.Digest
}

// Ledger hears what becomes of the sums. It is called while a lock is held, and by many at once. Windows are
// those of [chunk.Window].
type Ledger interface {
	// Settled tells that a series goes on in a later window: its sum in this one is final, and no longer kept here.
	Settled(partition uint16, window int64, sum series.Digest)
	// Doubted tells that there is a sample that is in no sum.
	Doubted(partition uint16, window int64)
}

// books are how a registry keeps its accounts.
type books struct {
	ledger Ledger
	sums   bool
	gaps   []chunk.Interval               // the times at which there is nothing elsewhere, ascending
	gap    atomic.Pointer[chunk.Interval] // that a sample was last in; of gaps
}

// open begins the books of an empty registry.
func (b *books) open(o RegistryOptions) {
	b.ledger, b.sums = o.Ledger, o.Sums
	past := slices.SortedFunc(slices.Values(o.Past), func(a, b chunk.Interval) int { return cmp.Compare(a.Min, b.Min) })
	from, more := int64(math.MinInt64), true // of the next gap
	for _, p := range past {
		if more && from < p.Min {
			b.gaps = append(b.gaps, chunk.Interval{Min: from, Max: p.Min - 1})
		}
		if more = more && p.Max < math.MaxInt64; more {
			from = max(from, p.Max+1)
		}
	}
	if more {
		b.gaps = append(b.gaps, chunk.Interval{Min: from, Max: math.MaxInt64})
	}
}

// fresh reports whether there is certainly no sample at a time elsewhere.
func (r *Registry) fresh(t int64) bool {
	if g := r.gap.Load(); g != nil && g.Min <= t && t <= g.Max {
		return true
	}
	i, _ := slices.BinarySearchFunc(r.gaps, t, func(g chunk.Interval, t int64) int { return cmp.Compare(g.Max, t) })
	if i == len(r.gaps) || t < r.gaps[i].Min {
		return false
	}
	r.gap.Store(&r.gaps[i])
	return true
}

// Sum begins to add up digests. Nobody appends meanwhile.
func (r *Registry) Sum() { r.sums = true }

// sum adds a sample to the account of its series. The caller holds the lock of its page.
func (r *Registry) sum(a *record, t int64, v float64) {
	if t <= a.last || !r.fresh(t) {
		r.doubt(a, t)
		return
	}
	r.advance(a, t)
	if r.sums {
		a.sum = a.sum.Plus(series.SampleDigest(a.id, t, v))
	}
}

// sumHistogram is sum for a histogram.
func (r *Registry) sumHistogram(a *record, h series.Histogram) {
	if h.T <= a.last || !r.fresh(h.T) {
		r.doubt(a, h.T)
		return
	}
	r.advance(a, h.T)
	if r.sums {
		var d chunk.Digester
		a.sum = a.sum.Plus(d.Histogram(a.id, h))
	}
}

// doubt notes a sample that cannot be added. The caller holds the lock of its page, and has put the sample where readers find it.
func (r *Registry) doubt(a *record, t int64) {
	if t > a.last {
		r.advance(a, t)
	}
	if r.ledger != nil {
		r.ledger.Doubted(a.partition, chunk.Window(t))
	}
}

// advance sets the latest time of a series.
func (r *Registry) advance(a *record, t int64) {
	if w := chunk.Window(a.last); w != chunk.Window(t) && !a.sum.IsZero() {
		if r.ledger != nil {
			r.ledger.Settled(a.partition, w, a.sum)
		}
		a.sum = series.Digest{}
	}
	a.last = t
}

// ScanSum appends the chunks of a series that overlap a window to dst as Scan does, all with data, and returns the sum that its
// account has of the window at the same moment. The memtable is the one that is appended to.
func (m *Memtable) ScanSum(dst []chunk.Chunk, buf *[]byte, ref Ref, window int64) ([]chunk.Chunk, series.Digest, error) {
	mint, maxt := chunk.WindowBounds(window)
	p := m.makePage(ref)
	from := len(dst)
	p.mu.Lock()
	sum := m.registry.series.at(uint32(ref)).in(window)
	dst, open, late := m.copied(dst, buf, p.entry(ref), mint, maxt, nil)
	dst, err := m.histogramChunks(dst, ref, mint, maxt)
	p.mu.Unlock()
	if err != nil {
		return nil, sum, err
	}
	if open.Samples > 0 && open.MinTime <= maxt {
		dst = append(dst, open)
	}
	if dst, err = appendLate(dst, late); err != nil {
		return nil, sum, err
	}
	sortByTime(dst[from:])
	return dst, sum, nil
}

// in is the sum of a window.
func (a *account) in(window int64) series.Digest {
	if chunk.Window(a.last) != window {
		return series.Digest{}
	}
	return a.sum
}

// Sums calls f with what the accounts of some series have: those of the registry's refs from one on, a thousand or so. It returns where to
// go on, and 0 when those were the last. The memtable is the one that is appended to.
func (m *Memtable) Sums(from Ref, f func(partition uint16, window int64, sum series.Digest)) (next Ref) {
	last := m.registry.newest()
	for range 4 {
		if from > last {
			return 0
		}
		p := m.makePage(from)
		end := min(last, from|(1<<pageBits-1))
		p.mu.Lock()
		for ; from <= end; from++ {
			if a := m.registry.series.at(uint32(from)); !a.sum.IsZero() {
				f(a.partition, chunk.Window(a.last), a.sum)
			}
		}
		p.mu.Unlock()
	}
	return from
}

// newest is the greatest ref.
func (r *Registry) newest() Ref {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.refs) == 0 {
		return 0
	}
	return r.refs[len(r.refs)-1]
}
