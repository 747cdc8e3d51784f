package vector

import "math"

// add adds x to a compensated sum (Neumaier 1974), as Prometheus does.
func add(x, sum, c float64) (float64, float64) {
	t := sum + x
	switch {
	case math.IsInf(t, 0):
		return t, 0
	case math.Abs(sum) >= math.Abs(x):
		c += (sum - t) + x
	default:
		c += (x - t) + sum
	}
	return t, c
}

// twoSum returns a sum and what it rounded away (Knuth).
func twoSum(a, b float64) (sum, rest float64) {
	sum = a + b
	z := sum - a
	return sum, (a - (sum - z)) + (b - z)
}

// doubled is a sum and what it rounds away, which has twice the digits.
type doubled struct{ sum, rest float64 }

func (d doubled) plus(x float64) doubled {
	s, e := twoSum(d.sum, x)
	d.sum, d.rest = twoSum(s, d.rest+e)
	return d
}

func (d doubled) minus(o doubled) float64 {
	s, e := twoSum(d.sum, -o.sum)
	return s + (e + (d.rest - o.rest))
}

// sums evaluates sum_over_time and avg_over_time.
func (w *worker) sums(out []float64) error {
	u := &w.u
	if many := w.p.grid.overlap() > 2; u.mixed || many {
		switch m := magnitude(u.v); {
		case !(m <= huge) && u.mixed:
			return errCoarse
		case m <= huge && many:
			return w.prefixSums(out, doubt(len(u.v), m))
		}
	}
	var coarse bool
	w.each(out, func(lo, hi int) float64 {
		sum, c := plain(u.v[lo:hi])
		if u.mixed {
			coarse = coarse || !w.exact(lo, hi, sum+c)
			return w.mean(sum+c, lo, hi)
		}
		x := sum + c
		if w.p.fn == fnAvg {
			n := float64(hi - lo)
			x = sum/n + c/n
		}
		switch {
		case math.Abs(x) <= math.MaxFloat64:
			return x
		case w.p.fn == fnSum:
			return sumOf(u.v[lo:hi])
		}
		return meanOf(u.v[lo:hi])
	})
	if coarse {
		return errCoarse
	}
	return nil
}

// magnitude is the sum of the magnitudes, about; NaN if one is NaN.
func magnitude(v []float64) float64 {
	var a, b, c, d float64 // four chains of additions, which a processor does side by side
	for ; len(v) >= 4; v = v[4:] {
		a, b, c, d = a+math.Abs(v[0]), b+math.Abs(v[1]), c+math.Abs(v[2]), d+math.Abs(v[3])
	}
	for _, x := range v {
		a += math.Abs(x)
	}
	return a + b + c + d
}

// plain is a sum and what it rounds away. If they are finite numbers, no step on the way overflowed: what add adds to c is
// then what twoSum returns, to the bit, and takes no branches.
func plain(v []float64) (sum, c float64) {
	for _, x := range v {
		var rest float64
		sum, rest = twoSum(sum, x)
		c += rest
	}
	return sum, c
}

// mean is the sum of a window, or its mean if that is what is asked for.
func (w *worker) mean(sum float64, lo, hi int) float64 {
	if w.p.fn == fnAvg {
		return sum / float64(w.u.count(lo, hi))
	}
	return sum
}

func sumOf(v []float64) float64 {
	var sum, c float64
	for _, x := range v {
		sum, c = add(x, sum, c)
	}
	if math.IsInf(sum, 0) {
		return sum
	}
	return sum + c
}

// meanOf is the mean as Prometheus computes it: of a sum that overflows, step by step.
func meanOf(v []float64) float64 {
	sum, c, n := v[0], 0.0, 1.0
	for i, x := range v[1:] {
		s, d := add(x, sum, c)
		if math.IsInf(s, 0) {
			return stepwiseMean(v[i+1:], sum/n, c/n, n)
		}
		sum, c, n = s, d, n+1
	}
	return sum/n + c/n
}

// stepwiseMean goes on with a mean of n values that are before v.
func stepwiseMean(v []float64, mean, c, n float64) float64 {
	for _, x := range v {
		n++
		q := (n - 1) / n
		mean, c = add(x/n, q*mean, q*c)
	}
	return mean + c
}

// doubt is the least that a difference of two sums must be, of the first some of n values with a sum of magnitudes, to be exact enough:
// either sum lacks what is below its last digits, and much larger values that both have may have left little above.
func doubt(n int, magnitude float64) float64 { return float64(n) * magnitude * (0x1p-103 / 1e-12) }

// prefixSums takes every window's sum as a difference of sums from the beginning, unless that is in doubt.
func (w *worker) prefixSums(out []float64, doubt float64) error {
	u := &w.u
	var sum doubled
	w.prefix = append(w.prefix[:0], sum)
	for _, x := range u.v {
		sum = sum.plus(x)
		w.prefix = append(w.prefix, sum)
	}
	var coarse bool
	other := 0 // the first that is not zero, from some window on
	w.each(out, func(lo, hi int) float64 {
		s := w.prefix[hi].minus(w.prefix[lo])
		if math.Abs(s) < doubt {
			for other = max(other, lo); other < hi && u.v[other] == 0; other++ {
			}
			sum, c := plain(u.v[other:hi]) // mostly there is nothing but zeros
			s = sum + c
		}
		if u.mixed && !w.exact(lo, hi, s) {
			coarse = true
		}
		return w.mean(s, lo, hi)
	})
	if coarse {
		return errCoarse
	}
	return nil
}

// exact says whether the rounded sums of chunks are good enough for a sum of them: not if they nearly cancel out.
func (w *worker) exact(lo, hi int, sum float64) bool {
	magnitude := 0.0
	for _, x := range w.u.v[lo:hi] {
		magnitude += math.Abs(x)
	}
	return magnitude*0x1p-52 <= 1e-12*math.Abs(sum)
}
