package cluster

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/series"
)

// known remembers which of its writers have stored a series with its labels, so that the id is enough. It is of one ring. It may
// forget a series, and take one for another, once in millions: the node says so when it does not know one. Its memory is bounded. The zero
// value is usable.
type known struct {
	marks atomic.Pointer[[]atomic.Uint32] // a power of two of them; nil: nothing is known

	mu      sync.Mutex // guards evicted, and changes of marks
	evicted int        // since marks was made
}

// A mark is 24 bits of an id and a bit for each of the first eight writers of its route. Other bits of the id choose the bucket. 0 is no mark.
const (
	markWriters = 8
	markMask    = 1<<markWriters - 1
	bucket      = 4 // marks among which that of a series is
	leastMarks  = 1 << 12
	mostMarks   = 1 << 22 // 16 MiB
)

func markOf(id series.ID) uint32 { return uint32(id.Hi) << markWriters }

// bucketOf returns the marks among which that of an id is.
func bucketOf(marks []atomic.Uint32, id series.ID) *[bucket]atomic.Uint32 {
	at := id.Lo * bucket & uint64(len(marks)-1)
	return (*[bucket]atomic.Uint32)(marks[at:])
}

// look sets know[i] for those series of list that all of these writers know. It does not branch on what it finds, so that the processor waits
// for the memory of many at once.
func (k *known) look(know []bool, list []int32, ids []series.ID, writers uint32) {
	marks := k.marks.Load()
	if marks == nil || writers == 0 {
		for _, i := range list {
			know[i] = false
		}
		return
	}
	mask := ^uint32(markMask) | writers
	for _, i := range list {
		in, want := bucketOf(*marks, ids[i]), markOf(ids[i])|markMask
		hit := uint32(0)
		for j := range in {
			differs := (in[j].Load() ^ want) & mask
			hit |= (differs - 1) &^ differs // its highest bit is set if differs is 0
		}
		know[i] = hit>>31 == 1
	}
}

// learn notes that a writer knows series.
func (k *known) learn(ids []series.ID, writer int) {
	if writer >= markWriters {
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
		fresh := make([]atomic.Uint32, n)
		marks, k.evicted = &fresh, 0
		k.marks.Store(marks)
	}
	for _, id := range ids {
		in, mark, bit := bucketOf(*marks, id), markOf(id), uint32(1)<<writer
		to, free := -1, -1
		for i := range in {
			switch m := in[i].Load(); {
			case m == 0:
				free = i
			case m&^markMask == mark:
				to = i
			}
		}
		switch {
		case to >= 0:
			in[to].Or(bit)
			continue
		case free < 0:
			free = int(id.Hi >> 32 % bucket)
			k.evicted++
		}
		in[free].Store(mark | bit)
	}
}

// forget notes that some writer does not know series after all.
func (k *known) forget(ids []series.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	marks := k.marks.Load()
	if marks == nil {
		return
	}
	for _, id := range ids {
		in := bucketOf(*marks, id)
		for i := range in {
			if in[i].Load()&^markMask == markOf(id) {
				in[i].Store(0)
			}
		}
	}
}

// briefly says which writers of a route have to know a series so that it is sent by its id: all those that get it now.
func (sh *shipment) briefly(r *route) (writers uint32) {
	if sh.written != nil || len(r.writers) > markWriters { // of what was written before, nodes look at the labels
		return 0
	}
	for j, n := range r.writers {
		if int(n) != sh.v.Self && sh.v.Members[n].Up {
			writers |= 1 << j
		}
	}
	return writers
}

// fresh is series that a node knows when it has stored a body with them.
type fresh struct {
	of   *routes
	ids  []series.ID
	runs []freshRun
}

// freshRun is those of one route, up to an index in ids.
type freshRun struct {
	route *route
	end   int
}

func (f *fresh) reset() { *f = fresh{ids: f.ids[:0], runs: f.runs[:0]} }

// add adds series of a route.
func (f *fresh) add(r *route, list []int32, ids []series.ID) {
	for _, i := range list {
		f.ids = append(f.ids, ids[i])
	}
	if len(list) > 0 {
		f.runs = append(f.runs, freshRun{r, len(f.ids)})
	}
}

// join adds what another has, if it is of the same ring.
func (f *fresh) join(o *fresh) {
	if f.of == nil {
		f.of = o.of
	}
	if f.of != o.of {
		return
	}
	for _, r := range o.runs {
		f.runs = append(f.runs, freshRun{r.route, len(f.ids) + r.end})
	}
	f.ids = append(f.ids, o.ids...)
}

// learn notes what an answer says of the series that a node knows.
func (l *lane) learn(b *body, a *writeAnswer, err error) {
	rs := b.fresh.of
	if rs == nil || rs != l.w.routes.Load() {
		return
	}
	if errors.Is(err, series.ErrUnknownSeries) {
		var named series.Batch
		if decodeBrief(&named, b.b[:b.brief]) == nil {
			rs.known.forget(named.IDs)
		}
		l.unknown.Inc()
		return
	}
	if err != nil || !a.Briefs || len(a.Rejected) > 0 || len(b.fresh.ids) == 0 {
		return
	}
	n, from := rs.ring.Index(l.id), 0
	for _, run := range b.fresh.runs {
		if j := slices.Index(run.route.writers, uint8(n)); n >= 0 && j >= 0 {
			rs.known.learn(b.fresh.ids[from:run.end], j)
		}
		from = run.end
	}
}
