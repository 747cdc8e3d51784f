// Package hot keeps what is asked for again and again at hand: chunks at the edges of windows, labels and lists of series that dashboards and
// rules ask about every few seconds. It is a table of fixed size with no lock and no order: a place has one value, and the one
// that comes instead takes it. So that a question about very many things, which come once each, does not push out what is
// hot, a value is let in when its key is missed for the second time and none of those that share the place was missed in between.
package hot

import "sync/atomic"

// Table holds values by keys, in a bounded number of bytes. Values are never changed. It is safe for concurrent use.
type Table[T any] struct {
	limit int64
	slots []slot[T] // a power of two of them
	hand  atomic.Uint64
	bytes atomic.Int64
}

type slot[T any] struct {
	entry  atomic.Pointer[entry[T]]
	missed atomic.Uint64 // the key that was missed last
}

type entry[T any] struct {
	key   uint64
	size  int64
	value T
}

// NewTable returns a table of 2^bits places and at most so many bytes of values.
func NewTable[T any](bits int, bytes int64) *Table[T] {
	return &Table[T]{limit: bytes, slots: make([]slot[T], 1<<bits)}
}

// at is the place of a key. Keys are mixed (Fibonacci hashing, Knuth), so that any numbers will do.
func (t *Table[T]) at(key uint64) *slot[T] {
	return &t.slots[key*0x9e3779b97f4a7c15>>32&uint64(len(t.slots)-1)]
}

// Get returns the value of a key.
func (t *Table[T]) Get(key uint64) (value T, ok bool) {
	if e := t.at(key).entry.Load(); e != nil && e.key == key {
		return e.value, true
	}
	return value, false
}

// Due says, of a key that was missed, whether its value is to be put.
func (t *Table[T]) Due(key uint64) bool { return t.at(key).missed.Swap(key) == key }

// Put puts a value of so many bytes, if it is not too large, and takes others out as long as there are too many bytes.
func (t *Table[T]) Put(key uint64, value T, size int64) {
	if size > t.limit/16 {
		return
	}
	t.swap(t.at(key), &entry[T]{key, size, value})
	for tries := 0; t.bytes.Load() > t.limit && tries < len(t.slots); tries++ {
		t.swap(&t.slots[t.hand.Add(1)&uint64(len(t.slots)-1)], nil)
	}
}

func (t *Table[T]) swap(s *slot[T], e *entry[T]) {
	if e != nil {
		t.bytes.Add(e.size)
	}
	if old := s.entry.Swap(e); old != nil {
		t.bytes.Add(-old.size)
	}
}
