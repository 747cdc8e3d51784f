package head

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// A slab is an array of pointer-free Ts that grows and never moves. At may be
// called for an index while others are added; adding is serialised inside.
type slab[T any] struct {
	bits  uint // a page holds 1<<bits Ts
	pages [1 << 14]atomic.Pointer[T]
	mu    sync.Mutex // guards raw, and the next index while a page is added
	raw   [][]byte
	next  atomic.Uint32
}

func newSlab[T any](bits uint) *slab[T] { return &slab[T]{bits: bits} }

// at returns element i, which add has returned before.
func (s *slab[T]) at(i uint32) *T {
	base := unsafe.Pointer(s.pages[i>>s.bits].Load())
	var t T
	return (*T)(unsafe.Add(base, uintptr(i&(1<<s.bits-1))*unsafe.Sizeof(t)))
}

// add returns the index of the first of n new zeroed elements, which lie in one
// page: n is at most a page's.
func (s *slab[T]) add(n uint32) uint32 {
	for {
		i := s.next.Load()
		end := i + n
		if i&(1<<s.bits-1) != 0 && (end-1)>>s.bits == i>>s.bits {
			if s.next.CompareAndSwap(i, end) {
				return i
			}
			continue
		}
		s.grow(i, n)
	}
}

// grow moves next into a new page, at element 1 of it if n fits there, so that
// element 0 of a page is never handed out: index 0 means none.
func (s *slab[T]) grow(seen, n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next.Load() != seen {
		return
	}
	page := (seen + 1<<s.bits - 1) >> s.bits
	var t T
	raw := alloc(int(unsafe.Sizeof(t)) << s.bits)
	s.raw = append(s.raw, raw)
	s.pages[page].Store((*T)(unsafe.Pointer(unsafe.SliceData(raw))))
	s.next.Store(page<<s.bits + 1)
}

// bytes is how much memory the slab has taken.
func (s *slab[T]) bytes() int64 {
	var t T
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.raw)) * int64(unsafe.Sizeof(t)) << s.bits
}

// release gives all memory back. Nothing of the slab may be used again.
func (s *slab[T]) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.raw {
		free(b)
	}
	s.raw = nil
	s.pages = [1 << 14]atomic.Pointer[T]{}
}

// text is a store of bytes that are written once, outside Go's heap.
type text struct {
	page []byte
	used int
	size int64
	raw  [][]byte
}

const textPage = 1 << 20

// release gives all memory back. No string of the text may be used again.
func (x *text) release() {
	for _, b := range x.raw {
		free(b)
	}
	*x = text{}
}

// put stores a string and returns it. It stays as long as the text. The caller serialises.
func (x *text) put(s string) string {
	if len(s) > len(x.page)-x.used {
		x.page, x.used = alloc(max(textPage, len(s))), 0
		x.raw = append(x.raw, x.page)
		x.size += int64(len(x.page))
	}
	b := x.page[x.used : x.used+len(s)]
	x.used += len(s)
	copy(b, s)
	return unsafe.String(unsafe.SliceData(b), len(b))
}
