package vector

import (
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk"
)

var (
	// errUnfit says that a plan cannot keep its promise over this data: the engine is to evaluate it.
	errUnfit = errors.New("left to the engine")
	// errTogether says that a plan is to be evaluated over all of its series at once.
	errTogether = errors.New("left to the node that was asked")
	// errCoarse says that statistics are not enough for a series: its samples are to be read.
	errCoarse = errors.New("statistics do not suffice")
)

// units are what a series has, in time order: samples, and chunks that no window cuts.
type units struct {
	t []int64   // ms, of the last sample
	v []float64 // a sample's value; of a chunk its last value, or what the function adds up

	// Of each unit, unless all are samples, and as far as the function needs it.
	mixed bool
	n     []uint64  // samples up to the end of this unit
	t0    []int64   // of the first sample
	f     []float64 // its value
}

func (u *units) reset() {
	u.t, u.v, u.n, u.t0, u.f = u.t[:0], u.v[:0], u.n[:0], u.t0[:0], u.f[:0]
	u.mixed = false
}

// level gives the samples before a chunk, or after the last, the columns that only chunks need.
func (u *units) level(f fn) {
	if !f.counts() {
		return
	}
	total := uint64(0)
	if len(u.n) > 0 {
		total = u.n[len(u.n)-1]
	}
	from := len(u.n)
	for range u.t[from:] {
		total++
		u.n = append(u.n, total)
	}
	if f.ends() {
		u.t0, u.f = append(u.t0, u.t[from:]...), append(u.f, u.v[from:]...)
	}
}

func (u *units) firstTime(i int) int64 {
	if u.mixed {
		return u.t0[i]
	}
	return u.t[i]
}

func (u *units) first(i int) float64 {
	if u.mixed {
		return u.f[i]
	}
	return u.v[i]
}

// count is how many samples the units [lo, hi) have.
func (u *units) count(lo, hi int) int {
	if !u.mixed {
		return hi - lo
	}
	if lo == 0 {
		return int(u.n[hi-1])
	}
	return int(u.n[hi-1] - u.n[lo-1])
}

// addChunk adds a chunk by its statistics.
func (u *units) addChunk(f fn, s *chunk.Stats) error {
	if s.Stale > 0 && (f.ends() || f.lasts()) {
		return errCoarse // the times of First and Last are not known
	}
	if s.Count() == 0 {
		return nil
	}
	v := s.Last
	switch f {
	case fnSum, fnAvg:
		if v = s.Total(); math.IsInf(v, 0) || math.IsNaN(v) {
			return errCoarse // what becomes of it depends on the order
		}
	case fnMin:
		v = s.Min
	case fnMax:
		v = s.Max
	case fnRate, fnIncrease:
		if !steady(s) {
			return errCoarse
		}
	}
	u.level(f)
	u.mixed = true
	u.t, u.v = append(u.t, s.MaxTime), append(u.v, v)
	if f.counts() {
		total := s.Count()
		if k := len(u.n); k > 0 {
			total += u.n[k-1]
		}
		u.n = append(u.n, total)
	}
	if f.ends() {
		u.t0, u.f = append(u.t0, s.MinTime), append(u.f, s.First)
	}
	return nil
}

// addBucket adds a bucket. Of one that a window cuts everything counts at the time of its last sample, and a counter that
// was reset within one is known by its last sample alone.
func (u *units) addBucket(p *plan, s *chunk.Stats) error {
	one := *s
	one.Samples, one.Stale = s.Count(), 0
	cut := p.grid.cut(s.MinTime, s.MaxTime)
	if cut {
		one.MinTime = s.MaxTime
	}
	if p.fn.ends() && (cut || !steady(s)) {
		one.MinTime, one.First, one.Increase, one.Samples = s.MaxTime, s.Last, 0, 1
	}
	if err := u.addChunk(p.fn, &one); err != nil {
		return errUnfit
	}
	return nil
}

// steady says whether a counter was not reset: the sum of all its steps then is what the ends say, but for rounding.
func steady(s *chunk.Stats) bool {
	rise := s.Last - s.First
	return math.Abs(s.Increase-rise) <= 1e-12*rise
}

// addSamples decodes a chunk. A selector needs to know of stale markers, and all others pass over them.
func (u *units) addSamples(f fn, c *chunk.Chunk) error {
	from := len(u.t)
	cols := chunk.Columns{T: u.t, V: u.v}
	err := c.AppendTo(&cols)
	u.t, u.v = cols.T, cols.V
	if err != nil || f == fnSelect || c.Encoding == chunk.Dense && c.Stale == 0 { // XOR may come from memory, uncounted
		return err
	}
	for i := from; i < len(u.v); i++ {
		if math.Float64bits(u.v[i]) == value.StaleNaN {
			u.compact(i)
			break
		}
	}
	return nil
}

// compact takes stale markers out, the first of which is at from.
func (u *units) compact(from int) {
	k := from
	for i := from; i < len(u.v); i++ {
		if math.Float64bits(u.v[i]) != value.StaleNaN {
			u.t[k], u.v[k] = u.t[i], u.v[i]
			k++
		}
	}
	u.t, u.v = u.t[:k], u.v[:k]
}
