package head

import (
	"maps"
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/minitrue/minitrue/shard"
)

// window is a window of package chunk in which a memtable has samples.
type window struct {
	number     int64
	partitions [shard.Partitions / 64]atomic.Uint64 // a bit for each that has some
}

// windowBytes is about what a window takes in memory, its place in a map included.
const windowBytes = int64(unsafe.Sizeof(window{})) + 64

// note notes that there are samples of a partition in a window.
func (m *Memtable) note(number int64, partition uint16) {
	w := m.noted.Load()
	if w == nil || w.number != number {
		w = m.window(number)
	}
	if word, bit := &w.partitions[partition/64], uint64(1)<<(partition%64); word.Load()&bit == 0 {
		word.Or(bit)
	}
}

func (m *Memtable) window(number int64) *window {
	m.seenMu.Lock()
	defer m.seenMu.Unlock()
	w := m.seen[number]
	if w == nil {
		w = &window{number: number}
		m.seen[number] = w
		m.seenBytes.Add(windowBytes)
	}
	m.noted.Store(w)
	return w
}

// Windows returns the numbers of all windows that samples lie in, ascending.
func (m *Memtable) Windows() []int64 {
	m.seenMu.Lock()
	defer m.seenMu.Unlock()
	return slices.Sorted(maps.Keys(m.seen))
}

// Partitions adds to a set the partitions that have samples in a window.
func (m *Memtable) Partitions(number int64, set *shard.Set) {
	m.seenMu.Lock()
	w := m.seen[number]
	m.seenMu.Unlock()
	if w == nil {
		return
	}
	for i := range w.partitions {
		for b := w.partitions[i].Load(); b != 0; b &= b - 1 {
			set.Add(uint16(i*64 + bits.TrailingZeros64(b)))
		}
	}
}
