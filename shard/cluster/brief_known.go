package cluster

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/series"
)

// known remembers which of its writers have stored a series with its labels, so that the id is enough, and which route it takes, so that
// nobody has to look at the labels again. It is of one ring. It may forget a series: the node says so when it does not know one. Its memory
// is bounded. The zero value is usable.
type known struct {
	marks atomic.Pointer[[]mark] // a power of two of them; nil: nothing is known

	mu      sync.Mutex // guards evicted, and changes of marks
	evicted int        // since marks was made
}

// A mark is what is known of a series, or 0. Its id is there but for some of the bits that choose the bucket, so that no series is taken
// for another, and none for a mark of which one half has just been written.
type mark struct {
	hi atomic.Uint64 // of the id
	lo atomic.Uint64 // 40 bits of the id, 16 of the route, and one for each of the first eight writers of that
}

const (
	markWriters = 8
	markRoute   = 16
	markLow     = markRoute + markWriters // what of lo is not the id's
	bucket      = 4                       // marks among which that of a series is: a cache line
	leastMarks  = 1 << 12
	mostMarks   = 1 << 22 // 64 MiB
)

// bucketOf returns the marks among which that of an id is.
func bucketOf(marks []mark, id series.ID) *[bucket]mark {
	at := id.Lo * bucket & uint64(len(marks)-1)
	return (*[bucket]mark)(marks[at:])
}

// is says whether a mark is that of a series.
func (m *mark) is(id series.ID) bool {
	return m.hi.Load() == id.Hi && (m.lo.Load()^id.Lo)>>markLow == 0 && m.lo.Load()<<(64-markLow) != 0
}

// look finds for each id the route that the series takes, none where it is not known, and a bit for each writer that knows it.
func (k *known) look(ids []series.ID, route []int32, writers []uint8) {
	marks := k.marks.Load()
	if marks == nil {
		for i := range ids {
			route[i], writers[i] = none, 0
		}
		return
	}
	for len(ids) > 0 {
		n := min(len(ids), lookAhead)
		lookFew(*marks, ids[:n], route, writers)
		ids, route, writers = ids[n:], route[n:], writers[n:]
	}
}

// lookAhead is how many marks are fetched before the first is looked at: the processor waits for the memory of many at once. What looks at
// them does not branch on what it finds, either.
const lookAhead = 64

func lookFew(marks []mark, ids []series.ID, route []int32, writers []uint8) {
	for _, id := range ids {
		bucketOf(marks, id)[0].lo.Load() // an atomic load, which no compiler leaves out
	}
	for i, id := range ids {
		in, found := bucketOf(marks, id), uint64(0)
		for j := range in {
			lo := in[j].lo.Load()
			differs := in[j].hi.Load() ^ id.Hi | (lo^id.Lo)>>markLow
			found |= lo & uint64(int64((differs-1)&^differs)>>63) // all bits of lo if differs is 0
		}
		found &= 1<<markLow - 1
		route[i], writers[i] = int32(found>>markWriters), uint8(found)
		if uint8(found) == 0 {
			route[i] = none
		}
	}
}

// learn notes that a writer of a route knows series that take it.
func (k *known) learn(ids []series.ID, r *route, writer int) {
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
		fresh := make([]mark, n)
		marks, k.evicted = &fresh, 0
		k.marks.Store(marks)
	}
	for _, id := range ids {
		in := bucketOf(*marks, id)
		to, free := -1, -1
		for i := range in {
			switch {
			case in[i].lo.Load() == 0:
				free = i
			case in[i].is(id):
				to = i
			}
		}
		switch {
		case to >= 0:
			in[to].lo.Or(1 << writer)
			continue
		case free < 0:
			free = int(id.Hi >> 32 % bucket)
			k.evicted++
		}
		in[free].hi.Store(id.Hi)
		in[free].lo.Store(id.Lo>>markLow<<markLow | uint64(r.index)<<markWriters | 1<<writer)
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
			if in[i].is(id) {
				in[i].lo.Store(0)
				in[i].hi.Store(0)
			}
		}
	}
}

// briefly says which writers of a route have to know a series so that it is sent by its id: all those that get it now.
func (sh *shipment) briefly(r *route) (writers uint8) {
	if sh.written.before || len(r.writers) > markWriters { // of what was written before, nodes look at the labels
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
			rs.known.learn(b.fresh.ids[from:run.end], run.route, j)
		}
		from = run.end
	}
}
