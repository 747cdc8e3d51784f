package cluster

import (
	"sync"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/series"
)

// known remembers which series a node has stored with their labels, so that their ids are enough. It may forget one, and it may, once in
// billions, take one for another: the node says so when it does not know a series. Its memory is bounded. The zero value is usable.
type known struct {
	marks atomic.Pointer[[]mark] // a power of two; nil: nothing is known

	mu      sync.Mutex // guards evicted, and the exchange of marks
	evicted int        // since marks was made
}

// mark is some bits of an id, of which others choose the place; 0 is an empty place.
type mark = atomic.Uint32

const (
	bucket     = 4 // marks among which an id has its place
	leastMarks = 1 << 12
	mostMarks  = 1 << 22 // 16 MiB a node
)

// bucketOf returns the bucket of an id, and its mark.
func bucketOf(marks []mark, id series.ID) (in []mark, m uint32) {
	at := id.Lo * bucket & uint64(len(marks)-1)
	return marks[at : at+bucket : at+bucket], uint32(id.Hi) | 1
}

func (k *known) has(id series.ID) bool {
	marks := k.marks.Load()
	if marks == nil {
		return false
	}
	in, m := bucketOf(*marks, id)
	return in[0].Load() == m || in[1].Load() == m || in[2].Load() == m || in[3].Load() == m
}

// add notes that the node knows series.
func (k *known) add(ids []series.ID) {
	if len(ids) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	marks := k.marks.Load()
	if marks == nil || k.evicted > len(*marks)/8 && len(*marks) < mostMarks {
		n := leastMarks
		if marks != nil {
			n = 2 * len(*marks) // empty: what is known shows soon enough
		}
		fresh := make([]mark, n)
		marks = &fresh
		k.marks.Store(marks)
		k.evicted = 0
	}
	for _, id := range ids {
		if k.has(id) {
			continue
		}
		in, m := bucketOf(*marks, id)
		to := &in[id.Hi>>32%bucket]
		for i := range in {
			if in[i].Load() == 0 {
				to = &in[i]
				break
			}
		}
		if to.Swap(m) != 0 {
			k.evicted++
		}
	}
}

// forget notes that the node does not know series after all.
func (k *known) forget(ids []series.ID) {
	marks := k.marks.Load()
	if marks == nil {
		return
	}
	for _, id := range ids {
		in, m := bucketOf(*marks, id)
		for i := range in {
			in[i].CompareAndSwap(m, 0)
		}
	}
}

// knowers are nodes that all have to know a series for its id to be enough.
type knowers []*known

func (ks knowers) know(id series.ID) bool {
	for _, k := range ks {
		if !k.has(id) {
			return false
		}
	}
	return len(ks) > 0
}
