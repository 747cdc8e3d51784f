package compact

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
)

// Options are for Plan. The zero value is usable.
type Options struct {
	Ranges    []time.Duration // ascending, each a multiple of the one before; nil means 2h, 8h, 32h and so on to fifteen years
	MaxRange  time.Duration   // no longer ranges; 0 means all
	MaxBytes  int64           // blocks of ranges above a day become no larger by merging; 0 means 1 GiB
	Grace     time.Duration   // a range is over this long after its end; 0 means 2h, the age at which memory is flushed
	Quiet     time.Duration   // and when no block of it is younger than this; 0 means 1h
	MinBlocks int             // blocks of like size that are merged before the range is over; 0 means 3
	MaxBlocks int             // blocks that are merged at a time; 0 means 16
	Force     bool            // all ranges are over
}

func (o Options) withDefaults() Options {
	if o.Ranges == nil {
		for r := chunk.Span * time.Millisecond; r <= 16*365*24*time.Hour; r *= 4 {
			o.Ranges = append(o.Ranges, r)
		}
	}
	if o.MaxRange > 0 {
		n, _ := slices.BinarySearch(o.Ranges, o.MaxRange+1)
		o.Ranges = o.Ranges[:max(n, 1)]
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
	o.Grace = cmp.Or(o.Grace, 2*time.Hour)
	o.Quiet = cmp.Or(o.Quiet, time.Hour)
	o.MinBlocks = cmp.Or(o.MinBlocks, 3)
	o.MaxBlocks = max(cmp.Or(o.MaxBlocks, 16), 2)
	return o
}

// Job is some blocks that are to become one.
type Job struct {
	Blocks []ulid.ULID // by ULID, oldest first
	Range  time.Duration
}

// What Plan weighs sizes with.
const (
	worth = 10 // a range that is over is merged when the rest is a worth-th of its largest block
	day   = 24 * time.Hour
	like  = 2 // a block is of like size when it is at most so many times all smaller ones
)

// Plan returns merges that are worth doing now, in the order in which to do them. No block is in
// two jobs. The same blocks at the same time give the same plan.
func Plan(metas []block.Meta, now int64, o Options) []Job {
	o = o.withDefaults()
	gone := Superseded(metas)
	live := slices.DeleteFunc(slices.Clone(metas), func(m block.Meta) bool { return slices.Contains(gone, m.ULID) })
	resolutions := map[int64][]block.Meta{}
	for _, m := range live {
		resolutions[m.Resolution] = append(resolutions[m.Resolution], m)
	}
	p := planner{Options: o, now: now, used: map[ulid.ULID]bool{}}
	for _, r := range slices.Sorted(maps.Keys(resolutions)) {
		p.plan(resolutions[r])
	}
	return p.jobs
}

// plan plans for blocks of one resolution.
func (p *planner) plan(live []block.Meta) {
	o := p.Options
	for i := len(o.Ranges) - 1; i >= 0; i-- {
		for _, g := range p.groups(live, o.Ranges[i]) {
			p.finish(g, i, false)
		}
	}
	for i, r := range o.Ranges {
		own := live
		if i > 0 {
			own = slices.DeleteFunc(slices.Clone(live), func(m block.Meta) bool { return within(m, o.Ranges[i-1]) })
		}
		for _, g := range p.groups(own, r) {
			p.gather(g, r)
		}
	}
}

// RangeOf is the shortest range that holds a block whole, and the longest one when none does.
func RangeOf(m block.Meta, o Options) time.Duration {
	o = o.withDefaults()
	for _, r := range o.Ranges {
		if within(m, r) {
			return r
		}
	}
	return o.Ranges[len(o.Ranges)-1]
}

type planner struct {
	Options
	now  int64
	used map[ulid.ULID]bool // in a job
	jobs []Job
}

// slot returns which range of this length a time lies in.
func slot(t int64, r time.Duration) int64 {
	n := r.Milliseconds()
	s := t / n
	if t%n < 0 {
		s--
	}
	return s
}

// within tells whether a block lies whole in one range of this length.
func within(m block.Meta, r time.Duration) bool { return slot(m.MinTime, r) == slot(m.MaxTime, r) }

// groups returns the free blocks by range, the oldest range first, each group smallest block first.
func (p *planner) groups(metas []block.Meta, r time.Duration) [][]block.Meta {
	var free []block.Meta
	for _, m := range metas {
		if !p.used[m.ULID] && within(m, r) {
			free = append(free, m)
		}
	}
	slices.SortFunc(free, func(a, b block.Meta) int {
		return cmp.Or(cmp.Compare(slot(a.MinTime, r), slot(b.MinTime, r)), cmp.Compare(a.Bytes(), b.Bytes()), a.ULID.Compare(b.ULID))
	})
	var gs [][]block.Meta
	for i := 0; i < len(free); {
		j := i
		for j < len(free) && slot(free[j].MinTime, r) == slot(free[i].MinTime, r) {
			j++
		}
		gs = append(gs, free[i:j])
		i = j
	}
	return gs
}

// finish merges all blocks of a range of level i that is over, when it is worth it. Too many at a time would be slow, so that
// they are merged by shorter ranges first, and at once: a backfill leaves many blocks in a short time.
func (p *planner) finish(g []block.Meta, i int, urgent bool) {
	r := p.Ranges[i]
	if len(g) < 2 {
		return
	}
	end := (slot(g[0].MinTime, r) + 1) * r.Milliseconds()
	if !p.Force && p.now < end+p.Grace.Milliseconds() {
		return
	}
	if r > day {
		var sum int64
		for i, m := range g {
			if sum += m.Bytes(); sum > p.MaxBytes { // the smallest that fit
				g = g[:i]
				break
			}
		}
		if len(g) < 2 {
			return
		}
	}
	if len(g) > p.MaxBlocks {
		p.finishParts(g, i)
		return
	}
	var rest int64
	for i, m := range g {
		if !p.Force && !urgent && int64(m.ULID.Time())+p.Quiet.Milliseconds() > p.now {
			return
		}
		if i < len(g)-1 {
			rest += m.Bytes()
		}
	}
	if p.Force || rest*worth >= g[len(g)-1].Bytes() {
		p.add(g, r)
		return
	}
	p.gather(g[:len(g)-1], r) // what came late, by itself
}

// finishParts merges some of more blocks than are merged at a time.
func (p *planner) finishParts(g []block.Meta, i int) {
	before := len(p.jobs)
	if i > 0 {
		for _, part := range p.groups(g, p.Ranges[i-1]) {
			p.finish(part, i-1, true)
		}
	}
	if len(p.jobs) == before {
		p.add(g[:p.MaxBlocks], p.Ranges[i])
	}
}

// gather merges the smallest blocks of a range when there are enough of like size.
func (p *planner) gather(g []block.Meta, r time.Duration) {
	var sum int64
	n := 0
	for n < min(len(g), p.MaxBlocks) && (n == 0 || g[n].Bytes() <= like*sum) {
		sum += g[n].Bytes()
		n++
	}
	if n >= p.MinBlocks {
		p.add(g[:n], r)
	}
}

func (p *planner) add(g []block.Meta, r time.Duration) {
	j := Job{Range: r}
	for _, m := range g {
		p.used[m.ULID] = true
		j.Blocks = append(j.Blocks, m.ULID)
	}
	slices.SortFunc(j.Blocks, ulid.ULID.Compare)
	p.jobs = append(p.jobs, j)
}

// Superseded returns the blocks whose samples are in another of these blocks: those
// that a merge read, and a crash kept from being removed. They are to be removed before anything is read.
func Superseded(metas []block.Meta) []ulid.ULID {
	parents := map[ulid.ULID]bool{}
	for _, m := range metas {
		for _, p := range m.Parents {
			parents[p] = p != m.ULID
		}
	}
	var gone []ulid.ULID
	for _, m := range metas {
		if parents[m.ULID] {
			gone = append(gone, m.ULID)
		}
	}
	slices.SortFunc(gone, ulid.ULID.Compare)
	return gone
}

// Expired returns the blocks that retention allows no longer, oldest data first: those whose last
// sample is older than maxAge, and then as many of the oldest as make all others fit into maxBytes. Zero is
// no limit.
func Expired(metas []block.Meta, now int64, maxAge time.Duration, maxBytes int64) []ulid.ULID {
	sorted := slices.SortedFunc(slices.Values(metas), func(a, b block.Meta) int {
		return cmp.Or(cmp.Compare(a.MaxTime, b.MaxTime), cmp.Compare(a.MinTime, b.MinTime), a.ULID.Compare(b.ULID))
	})
	var total int64
	for _, m := range sorted {
		total += m.Bytes()
	}
	var gone []ulid.ULID
	for _, m := range sorted {
		old := maxAge > 0 && m.MaxTime < now-maxAge.Milliseconds()
		if !old && (maxBytes <= 0 || total <= maxBytes) {
			continue
		}
		gone = append(gone, m.ULID)
		total -= m.Bytes()
	}
	return gone
}
