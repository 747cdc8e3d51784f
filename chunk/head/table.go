package head

import (
	"unsafe"

	"github.com/minitrue/minitrue/chunk/series"
)

// A table finds indexes by hash: open addressing with linear probing, outside
// Go's heap. The caller serialises writers against everybody, and says which of
// the candidates with the right fingerprint is the one.
type table struct {
	raw   []byte
	slots []slot
	used  int
}

type slot struct {
	mark  uint32 // some bits of the hash that do not choose the place
	index uint32 // 0 means empty
}

func (t *table) find(hash uint64, is func(index uint32) bool) uint32 {
	if len(t.slots) == 0 {
		return 0
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s.index == 0 {
			return 0
		}
		if s.mark == uint32(hash>>32) && is(s.index) {
			return s.index
		}
	}
}

// candidates finds for each id the first index that find would ask about, or 0. All are looked for before any is asked about, and their
// places are read before any is looked at, so that the processor waits for memory once for many.
func (t *table) candidates(ids []series.ID, refs []Ref) {
	if len(t.slots) == 0 {
		clear(refs[:len(ids)])
		return
	}
	mask := uint64(len(t.slots) - 1)
	for i := range ids {
		refs[i] = Ref(t.slots[ids[i].Lo&mask].index)
	}
	for i := range ids {
		hash := ids[i].Lo
		for at := hash & mask; ; at = (at + 1) & mask {
			if s := t.slots[at]; s.index == 0 || s.mark == uint32(hash>>32) {
				refs[i] = Ref(s.index)
				break
			}
		}
	}
}

// put adds an index; hashOf gives the hash of one that is there, for growing.
func (t *table) put(hash uint64, index uint32, hashOf func(index uint32) uint64) {
	if 4*(t.used+1) > 3*len(t.slots) {
		t.grow(hashOf)
	}
	t.place(hash, index)
	t.used++
}

func (t *table) place(hash uint64, index uint32) {
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i].index != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = slot{uint32(hash >> 32), index}
}

func (t *table) grow(hashOf func(uint32) uint64) {
	oldRaw, old := t.raw, t.slots
	n := max(1024, 2*len(old))
	t.raw = alloc(n * int(unsafe.Sizeof(slot{})))
	t.slots = unsafe.Slice((*slot)(unsafe.Pointer(unsafe.SliceData(t.raw))), n)
	for _, s := range old {
		if s.index != 0 {
			t.place(hashOf(s.index), s.index)
		}
	}
	if oldRaw != nil {
		free(oldRaw)
	}
}

// release gives the memory back. The table is empty then.
func (t *table) release() {
	if t.raw != nil {
		free(t.raw)
	}
	*t = table{}
}
