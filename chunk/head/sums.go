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
	last int64 // the latest time of a sample, in this registry's memtables since it has sums
	end  int64 // of the window that sum is of: a sample from then on begins another
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
	ledger   Ledger
	sums     bool                           // somebody wants them
	accounts *slab[account]                 // by ref, while there are sums; each guarded by the lock of its page in the memtable that is appended to
	gaps     []chunk.Interval               // the times at which there is nothing elsewhere, ascending
	gap      atomic.Pointer[chunk.Interval] // that a sample was last in; of gaps
}

// open begins the books of an empty registry.
func (b *books) open(o RegistryOptions) {
	b.ledger, b.sums, b.accounts = o.Ledger, o.Sums, newSlab[account](refBits)
	b.since(o.Past)
}

func (b *books) openAccount() {
	*b.accounts.at(b.accounts.add(1)) = account{last: math.MinInt64, end: math.MinInt64}
}

// since sets the times of the samples that accounts know nothing of.
func (b *books) since(past []chunk.Interval) {
	b.gaps = nil
	b.gap.Store(nil)
	past = slices.SortedFunc(slices.Values(past), func(a, b chunk.Interval) int { return cmp.Compare(a.Min, b.Min) })
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

// Sum begins to add up digests, of samples that come from now on. Past are the times of all that there are. It is called once,
// while nobody appends or registers.
func (r *Registry) Sum(past []chunk.Interval) {
	r.sums = true
	r.since(past)
	for range r.refs {
		r.openAccount()
	}
}

// sum adds a sample to the account of its series, if there are sums. The caller holds the lock of its page, and has put the
// sample where readers find it; so it is with what follows.
func (r *Registry) sum(ref Ref, t int64, v float64) {
	if !r.sums {
		return
	}
	a := r.accounts.at(uint32(ref))
	if t <= a.last || !r.fresh(t) {
		r.doubt(ref, t)
		return
	}
	if t >= a.end {
		r.turn(ref, a, t)
	}
	a.last = t
	a.sum = a.sum.Plus(series.SampleDigest(r.series.at(uint32(ref)).id, t, v))
}

// sumHistogram is sum for a histogram.
func (r *Registry) sumHistogram(ref Ref, h series.Histogram) {
	if !r.sums {
		return
	}
	a := r.accounts.at(uint32(ref))
	if h.T <= a.last || !r.fresh(h.T) {
		r.doubt(ref, h.T)
		return
	}
	if h.T >= a.end {
		r.turn(ref, a, h.T)
	}
	a.last = h.T
	var d chunk.Digester
	a.sum = a.sum.Plus(d.Histogram(r.ID(ref), h))
}

// doubt notes a sample that cannot be added.
func (r *Registry) doubt(ref Ref, t int64) {
	if !r.sums {
		return
	}
	if a := r.accounts.at(uint32(ref)); t > a.last {
		if t >= a.end {
			r.turn(ref, a, t)
		}
		a.last = t
	}
	if r.ledger != nil {
		r.ledger.Doubted(r.Partition(ref), chunk.Window(t))
	}
}

// turn begins the sum of the window that a time lies in.
func (r *Registry) turn(ref Ref, a *account, t int64) {
	if !a.sum.IsZero() && r.ledger != nil {
		r.ledger.Settled(r.Partition(ref), chunk.Window(a.last), a.sum)
	}
	a.sum = series.Digest{}
	if _, a.end = chunk.WindowBounds(chunk.Window(t)); a.end < math.MaxInt64 {
		a.end++
	}
}

// ScanSum appends the chunks of a series that overlap a window to dst as Scan does, all with data, and returns the sum that its
// account has of the window at the same moment. The memtable is the one that is appended to.
func (m *Memtable) ScanSum(dst []chunk.Chunk, buf *[]byte, ref Ref, window int64) ([]chunk.Chunk, series.Digest, error) {
	mint, maxt := chunk.WindowBounds(window)
	p := m.makePage(ref)
	from := len(dst)
	p.mu.Lock()
	sum := m.registry.sumOf(ref, window)
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

// sumOf is the sum of a series in a window.
func (r *Registry) sumOf(ref Ref, window int64) series.Digest {
	if r.sums {
		if a := r.accounts.at(uint32(ref)); chunk.Window(a.last) == window {
			return a.sum
		}
	}
	return series.Digest{}
}

// Sums calls f with what the accounts of some series have: those of the registry's refs from one on, a thousand or so. It returns where to
// go on, and 0 when those were the last. The memtable is the one that is appended to.
func (m *Memtable) Sums(from Ref, f func(partition uint16, window int64, sum series.Digest)) (next Ref) {
	r := m.registry
	last := r.last()
	if !r.sums {
		return 0
	}
	for range 4 {
		if from > last {
			return 0
		}
		p := m.makePage(from)
		end := min(last, from|(1<<pageBits-1))
		p.mu.Lock()
		for ; from <= end; from++ {
			if a := r.accounts.at(uint32(from)); !a.sum.IsZero() {
				f(r.Partition(from), chunk.Window(a.last), a.sum)
			}
		}
		p.mu.Unlock()
	}
	return from
}

// last is the greatest ref.
func (r *Registry) last() Ref {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.refs) == 0 {
		return 0
	}
	return r.refs[len(r.refs)-1]
}
