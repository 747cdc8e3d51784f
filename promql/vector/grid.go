package vector

import "math"

// grid are the windows of a range query: n of them, the i-th being (at(i)−back, at(i)]. In milliseconds; @ and
// offset are in it already.
type grid struct {
	start, step int64
	n           int
	back        int64
}

func (g *grid) at(i int) int64 { return g.start + int64(i)*g.step }

// span returns the first and the last millisecond that is in a window.
func (g *grid) span() (mint, maxt int64) { return g.start - g.back + 1, g.at(g.n - 1) }

// cutAbove says whether the upper bound of a window lies within [lo, hi): it divides them.
func (g *grid) cutAbove(lo, hi int64) bool { return g.divides(g.start, lo, hi) }

// cut says whether a bound of a window divides lo and hi.
func (g *grid) cut(lo, hi int64) bool {
	return g.divides(g.start, lo, hi) || g.divides(g.start-g.back, lo, hi)
}

// divides says whether one of first, first+step, … lies within [lo, hi).
func (g *grid) divides(first, lo, hi int64) bool {
	if hi <= lo || hi <= first {
		return false
	}
	var i int64
	if lo > first {
		if g.n == 1 {
			return false
		}
		i = (lo - first + g.step - 1) / g.step
	}
	return i < int64(g.n) && first+i*g.step < hi
}

// overlap is how many windows a sample is in, about.
func (g *grid) overlap() int64 {
	if g.n == 1 {
		return 1
	}
	return (g.back + g.step - 1) / g.step
}

// absent stands for no value. It is the stale marker, which no function returns.
const absentBits uint64 = 0x7ff0000000000002

var absent = math.Float64frombits(absentBits)

func isAbsent(v float64) bool { return math.Float64bits(v) == absentBits }
