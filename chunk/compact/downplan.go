package compact

import (
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
)

// Day is the length of the aligned windows of time that are downsampled as a whole: (start, start+Day].
const Day = 24 * time.Hour

// A DownsampleJob makes the buckets of some days out of blocks of a finer resolution.
type DownsampleJob struct {
	Resolution int64 // ms, of the buckets
	Days       []block.Coverage
	Sources    []ulid.ULID // blocks with samples of these days, or with finer buckets
	Old        ulid.ULID   // the block of this resolution that has these days, all of which the new one replaces; zero: none
}

// maxDays bounds the days of one job, and with them the memory that a series takes in it.
const maxDays = 32

// mostDays bounds how far back from its end a block is downsampled, so that a sample of a mistaken year costs no more.
const mostDays = 20_000

// PlanDownsample returns what is to be downsampled now from blocks of one resolution (ms; 0 is samples) to a
// coarser one. A day is due when it is over and no block of it is younger than the plan's Quiet, and when a flush has
// brought samples of it since its buckets were made: what comes late is in the buckets a while later. Days in empty turned
// out to have no samples, though a block reaches over them. The same blocks at the same time give the same plan.
func PlanDownsample(metas []block.Meta, now int64, from, to int64, empty []block.Coverage, o Options) []DownsampleJob {
	o = o.withDefaults()
	p := downPlanner{now: now, Options: o, to: to, due: map[int64]*block.Coverage{}, made: []block.Meta{{Origin: block.Origin{Covers: empty}}}}
	for _, m := range metas {
		switch m.Resolution {
		case from:
			p.source(m)
			p.sources = append(p.sources, m)
		case to:
			p.made = append(p.made, m)
		}
	}
	return p.jobs()
}

type downPlanner struct {
	Options
	now     int64
	to      int64
	sources []block.Meta
	made    []block.Meta
	due     map[int64]*block.Coverage // by the day's end
	young   []block.Meta
}

// source notes the days of a block that may be due.
func (p *downPlanner) source(m block.Meta) {
	day := Day.Milliseconds()
	if !p.Force && int64(m.ULID.Time())+p.Quiet.Milliseconds() > p.now {
		p.young = append(p.young, m)
	}
	last := min(chunk.BucketEnd(m.MaxTime, day), p.now-p.Grace.Milliseconds())
	for end := max(chunk.BucketEnd(m.MinTime, day), last/day*day-mostDays*day); end <= last; end += day {
		c := p.due[end]
		if c == nil {
			c = &block.Coverage{Start: end - day, End: end}
			p.due[end] = c
		}
		c.Generation = max(c.Generation, m.Generation)
	}
}

// jobs drops the days that are not due after all, and groups the others by the block that they belong to.
func (p *downPlanner) jobs() []DownsampleJob {
	for end, c := range p.due {
		if Covered(p.made, *c) || slices.ContainsFunc(p.young, func(m block.Meta) bool { return touches(m, *c) }) {
			delete(p.due, end)
		}
	}
	days := make([]block.Coverage, 0, len(p.due))
	for _, c := range p.due {
		days = append(days, *c)
	}
	slices.SortFunc(days, func(a, b block.Coverage) int { return cmp.Compare(a.End, b.End) })
	var jobs []DownsampleJob
	open := map[ulid.ULID]int{} // the job that a block's days go into
	for _, d := range days {
		old := p.owner(d)
		i, ok := open[old]
		if !ok || len(jobs[i].Days) == maxDays {
			if ok && old != (ulid.ULID{}) {
				continue // the rest of this block's days is due once more when the block is replaced
			}
			i = len(jobs)
			open[old] = i
			jobs = append(jobs, DownsampleJob{Resolution: p.to, Old: old})
		}
		jobs[i].Days = append(jobs[i].Days, d)
	}
	for i := range jobs {
		for _, m := range p.sources {
			if slices.ContainsFunc(jobs[i].Days, func(d block.Coverage) bool { return touches(m, d) }) {
				jobs[i].Sources = append(jobs[i].Sources, m.ULID)
			}
		}
		slices.SortFunc(jobs[i].Sources, ulid.ULID.Compare)
	}
	return jobs
}

// owner returns the block that has a day's buckets, made of older samples.
func (p *downPlanner) owner(d block.Coverage) ulid.ULID {
	for _, m := range p.made[1:] {
		if slices.ContainsFunc(m.Covers, func(c block.Coverage) bool { return c.Start < d.End && d.Start < c.End }) {
			return m.ULID
		}
	}
	return ulid.ULID{}
}

func touches(m block.Meta, c block.Coverage) bool { return m.MinTime <= c.End && m.MaxTime > c.Start }

// Covered reports whether downsampled blocks have all days of a span, made of everything that was flushed up to its generation.
func Covered(made []block.Meta, want block.Coverage) bool {
	day := Day.Milliseconds()
	last := chunk.BucketEnd(want.End, day)
	for end := max(chunk.BucketEnd(want.Start+1, day), last-mostDays*day); end <= last; end += day {
		if !slices.ContainsFunc(made, func(m block.Meta) bool {
			return slices.ContainsFunc(m.Covers, func(c block.Coverage) bool {
				return c.Start <= end-day && end <= c.End && c.Generation >= want.Generation
			})
		}) {
			return false
		}
	}
	return true
}

// JoinCoverage returns the union of coverages of blocks that share no day.
func JoinCoverage(cs ...[]block.Coverage) []block.Coverage {
	all := slices.Concat(cs...)
	slices.SortFunc(all, func(a, b block.Coverage) int { return cmp.Compare(a.Start, b.Start) })
	out := all[:0]
	for _, c := range all {
		if n := len(out); n > 0 && out[n-1].End == c.Start && out[n-1].Generation == c.Generation {
			out[n-1].End = c.End
			continue
		}
		out = append(out, c)
	}
	return out
}
