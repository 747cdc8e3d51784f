package head

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// Memtable holds the samples that came since the last freeze. Appending and
// reading may go on from many goroutines at once.
//
// Lock order: one page's mu, then histMu.
type Memtable struct {
	registry *Registry
	pages    [1 << 10]atomic.Pointer[[1 << 10]atomic.Pointer[page]]
	pageMu   sync.Mutex // guards the making of pages
	blocks   *slab[entries]
	pieces   *slab[piece]
	closed   *slab[closedChunk]

	histMu sync.Mutex // guards hists
	hists  map[Ref]*histograms

	seenMu sync.Mutex             // guards seen
	seen   map[int64]*window      // in which there are samples
	noted  atomic.Pointer[window] // of seen, the one that was last looked for

	samples   atomic.Int64 // appended floats and histograms, duplicates too
	histBytes atomic.Int64 // what hists take, about
	seenBytes atomic.Int64 // what seen takes, about
	minTime   atomic.Int64
	maxTime   atomic.Int64
}

const pageBits = 8

type entries [1 << pageBits]entry

// page is the entries of neighbouring refs, and their lock.
type page struct {
	mu      sync.Mutex // guards entries and the pieces that belong to them, and while this memtable is appended to, the accounts of the series
	entries *entries
	logged  [len(entries{}) / 64]atomic.Uint64 // whose keys are in the log beside this memtable
}

// NewMemtable returns an empty memtable for the series of a registry, of whose memtables one at a time is appended to.
func NewMemtable(r *Registry) *Memtable {
	m := &Memtable{
		registry: r, blocks: newSlab[entries](6), pieces: newSlab[piece](14), closed: newSlab[closedChunk](12),
		hists: map[Ref]*histograms{}, seen: map[int64]*window{},
	}
	m.minTime.Store(math.MaxInt64)
	m.maxTime.Store(math.MinInt64)
	return m
}

// Release gives the memory back. Nobody may use the memtable any more.
func (m *Memtable) Release() {
	m.blocks.release()
	m.pieces.release()
	m.closed.release()
}

// page returns the page of a ref, or nil if there is none yet.
func (m *Memtable) page(ref Ref) *page {
	i := uint32(ref) >> pageBits
	dir := m.pages[i>>10].Load()
	if dir == nil {
		return nil
	}
	return dir[i&(1<<10-1)].Load()
}

// makePage returns the page of a ref, a new one if need be.
func (m *Memtable) makePage(ref Ref) *page {
	if p := m.page(ref); p != nil {
		return p
	}
	m.pageMu.Lock()
	defer m.pageMu.Unlock()
	i := uint32(ref) >> pageBits
	dir := m.pages[i>>10].Load()
	if dir == nil {
		dir = new([1 << 10]atomic.Pointer[page])
		m.pages[i>>10].Store(dir)
	}
	at := &dir[i&(1<<10-1)]
	if at.Load() == nil {
		at.Store(&page{entries: m.blocks.at(m.blocks.add(1))})
	}
	return at.Load()
}

func (p *page) entry(ref Ref) *entry { return &p.entries[ref&(1<<pageBits-1)] }

// Logged reports whether SetLogged was called for a ref.
func (m *Memtable) Logged(ref Ref) bool {
	p := m.makePage(ref)
	i := ref & (1<<pageBits - 1)
	return p.logged[i/64].Load()&(1<<(i%64)) != 0
}

// SetLogged notes that the series' key is in the log that belongs to this memtable.
func (m *Memtable) SetLogged(ref Ref) {
	i := ref & (1<<pageBits - 1)
	m.makePage(ref).logged[i/64].Or(1 << (i % 64))
}

// piece takes a new piece.
func (m *Memtable) piece() uint32 { return m.pieces.add(1) }

// Append adds the samples of series whose refs are known; refs[i] belongs to b.Series[i], and
// what is Bad is left out.
func (m *Memtable) Append(b *series.Batch, refs []Ref) {
	var p *page
	var held uint32 = math.MaxUint32
	minT, maxT := int64(math.MaxInt64), int64(math.MinInt64)
	n := int64(0)
	for i := range b.Series {
		s := &b.Series[i]
		if s.Bad || s.Count == 0 {
			continue
		}
		if at := uint32(refs[i]) >> pageBits; at != held {
			if p != nil {
				p.mu.Unlock()
			}
			p = m.makePage(refs[i])
			p.mu.Lock()
			held = at
		}
		e := p.entry(refs[i])
		for _, x := range b.Samples[s.First : s.First+s.Count] {
			m.add(e, refs[i], x.T, x.V)
			minT, maxT = min(minT, x.T), max(maxT, x.T)
		}
		n += int64(s.Count)
	}
	if p != nil {
		p.mu.Unlock()
	}
	if n > 0 {
		m.samples.Add(n)
		m.widen(minT, maxT)
	}
}

// AppendSample adds one sample of a series.
func (m *Memtable) AppendSample(ref Ref, t int64, v float64) {
	p := m.makePage(ref)
	p.mu.Lock()
	m.add(p.entry(ref), ref, t, v)
	p.mu.Unlock()
	m.samples.Add(1)
	m.widen(t, t)
}

func (m *Memtable) widen(minT, maxT int64) {
	for old := m.minTime.Load(); minT < old && !m.minTime.CompareAndSwap(old, minT); old = m.minTime.Load() {
	}
	for old := m.maxTime.Load(); maxT > old && !m.maxTime.CompareAndSwap(old, maxT); old = m.maxTime.Load() {
	}
}

// add puts a sample where it belongs. The caller holds the page's lock.
func (m *Memtable) add(e *entry, ref Ref, t int64, v float64) {
	switch {
	case e.count > 0 && t <= e.t:
		if t < e.t || math.Float64bits(v) != math.Float64bits(e.v) {
			m.addLate(e, t, v)
			m.note(chunk.Window(t), m.registry.Partition(ref))
			m.registry.doubt(ref, t)
		}
		return
	case e.count >= longest(ref), e.count > 0 && chunk.Window(t) != chunk.Window(e.t):
		m.close(e)
	}
	if e.count == 0 {
		m.note(chunk.Window(t), m.registry.Partition(ref))
	}
	m.append(e, t, v)
	m.registry.sum(ref, t, v)
}

// longest is how many samples the chunks of a series have. Series that are scraped together began together, and closing a chunk takes a while: when
// thousands close theirs in one batch, its writer waits for all of them.
func longest(ref Ref) uint16 { return chunk.MaxSamples - uint16(ref)%32 }

// latePiece is how late samples lie in a piece: three, as time and value.
const latePiece = 3

func (m *Memtable) addLate(e *entry, t int64, v float64) {
	i := e.nLate % latePiece
	if i == 0 {
		p := m.piece()
		m.pieces.at(p).next = e.late
		e.late = p
	}
	w := &m.pieces.at(e.late).words
	w[2*i], w[2*i+1] = uint64(t), math.Float64bits(v)
	e.nLate++
}

// close ends the open chunk.
func (m *Memtable) close(e *entry) {
	i := m.closed.add(1)
	c := m.closed.at(i)
	*c = closedChunk{prev: e.closed, head: e.head, acc: e.acc, words: e.words, nacc: e.nacc}
	data := m.bytes(make([]byte, 0, sizeOf(e.words, e.nacc)), e.count, e.words, e.head, e.acc, e.nacc)
	stats, err := chunk.Chunk{Encoding: chunk.XOR, Data: data}.Measure()
	if err != nil {
		panic(fmt.Sprintf("a chunk in memory does not decode: %v", err)) // memory is broken, or this package is
	}
	c.Stats = stats
	e.closed = i
	e.acc, e.nacc, e.words, e.count, e.head, e.tail = 0, 0, 0, 0, 0, 0
}

// Closed is about how many chunks get no more samples.
func (m *Memtable) Closed() int64 { return int64(m.closed.next.Load()) }

// Samples is how many samples were appended.
func (m *Memtable) Samples() int64 { return m.samples.Load() }

// Recent is how many series have their last sample at since (ms) or later; histogram series count always.
func (m *Memtable) Recent(since int64) int {
	n := 0
	m.eachEntry(func(e *entry) {
		if e.count > 0 && e.t >= since {
			n++
		}
	})
	m.histMu.Lock()
	defer m.histMu.Unlock()
	return n + len(m.hists)
}

// eachEntry calls f for every entry, whose page's lock it holds meanwhile.
func (m *Memtable) eachEntry(f func(*entry)) {
	for i := range m.pages {
		dir := m.pages[i].Load()
		if dir == nil {
			continue
		}
		for j := range dir {
			p := dir[j].Load()
			if p == nil {
				continue
			}
			p.mu.Lock()
			for k := range p.entries {
				f(&p.entries[k])
			}
			p.mu.Unlock()
		}
	}
}

// Bounds are the times of the earliest and the latest sample, ms; the first is
// greater than the second if there is none.
func (m *Memtable) Bounds() (minT, maxT int64) { return m.minTime.Load(), m.maxTime.Load() }

// Bytes is about how much memory the samples take, without the entries.
func (m *Memtable) Bytes() int64 {
	return int64(m.pieces.next.Load())*int64(unsafe.Sizeof(piece{})) +
		int64(m.closed.next.Load())*int64(unsafe.Sizeof(closedChunk{})) + m.histBytes.Load() + m.seenBytes.Load()
}
