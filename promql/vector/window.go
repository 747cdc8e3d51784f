package vector

import (
	"math"

	"github.com/prometheus/prometheus/model/value"
)

// huge bounds the numbers that are added up freely: beyond it a sum may overflow in one order and not in another.
const huge = 1e300

// lasts evaluates the instant selector and last_over_time.
func (w *worker) lasts(out []float64) {
	u, g := &w.u, &w.p.grid
	hi := 0
	for i := range out {
		end := g.at(i)
		for hi < len(u.t) && u.t[hi] <= end {
			hi++
		}
		out[i] = absent
		if hi > 0 && u.t[hi-1] > end-g.back && math.Float64bits(u.v[hi-1]) != value.StaleNaN {
			out[i] = u.v[hi-1]
		}
	}
}

// each calls f with the units [lo, hi) of every window, and writes what it returns. An empty window has no value.
func (w *worker) each(out []float64, f func(lo, hi int) float64) {
	u, g := &w.u, &w.p.grid
	lo, hi := 0, 0
	for i := range out {
		end := g.at(i)
		hi = after(u.t, hi, end)
		lo = after(u.t[:hi], lo, end-g.back)
		if out[i] = absent; lo < hi {
			out[i] = f(lo, hi)
		}
	}
}

// after returns the first i, from one on, with t[i] > x, or len(t). What is near is found fast, and what is far too.
func after(t []int64, i int, x int64) int {
	step := 1
	for i+step <= len(t) && t[i+step-1] <= x {
		i += step
		step *= 2
	}
	end := min(i+step, len(t))
	for i < end { // t[end:] is greater, t[:i] is not
		if m := int(uint(i+end) / 2); t[m] <= x {
			i = m + 1
		} else {
			end = m
		}
	}
	return i
}

func (w *worker) counts(out []float64) {
	w.each(out, func(lo, hi int) float64 { return float64(w.u.count(lo, hi)) })
}

func (w *worker) presents(out []float64) {
	w.each(out, func(int, int) float64 { return 1 })
}

// extremes evaluates min_over_time and max_over_time. NaN is the extreme only of nothing else, and of equal ones
// (+0 and −0) the first is taken.
func (w *worker) extremes(out []float64) {
	v, isMax := w.u.v, w.p.fn == fnMax
	if w.p.grid.overlap() <= 4 {
		if isMax {
			w.each(out, func(lo, hi int) float64 { return maxOf(v[lo:hi]) })
		} else {
			w.each(out, func(lo, hi int) float64 { return minOf(v[lo:hi]) })
		}
		return
	}
	// The queue has the units that are the extreme of what follows them, its first that of the window.
	q, next := w.queue[:0], 0
	w.each(out, func(lo, hi int) float64 {
		for ; next < hi; next++ {
			x := v[next]
			if math.IsNaN(x) {
				continue
			}
			for len(q) > 0 && (isMax && v[q[len(q)-1]] < x || !isMax && v[q[len(q)-1]] > x) {
				q = q[:len(q)-1]
			}
			q = append(q, int32(next))
		}
		for len(q) > 0 && int(q[0]) < lo {
			q = q[1:]
		}
		if len(q) == 0 {
			return v[hi-1]
		}
		return v[q[0]]
	})
}

func maxOf(v []float64) float64 {
	m := v[0]
	for _, x := range v[1:] {
		if x > m || math.IsNaN(m) {
			m = x
		}
	}
	return m
}

func minOf(v []float64) float64 {
	m := v[0]
	for _, x := range v[1:] {
		if x < m || math.IsNaN(m) {
			m = x
		}
	}
	return m
}
