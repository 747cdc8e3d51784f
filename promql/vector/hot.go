package vector

import (
	"math"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/hot"
)

const (
	hotBits  = 11      // so many chunks are hot at most, as a power of two
	hotBytes = 8 << 20 // that they may take
	rung     = 8       // values between two sums that are kept
)

// hotChunks are the chunks that windows cut again and again, decoded, by their serial.
type hotChunks = hot.Table[*hotChunk]

func newHotChunks() *hotChunks { return hot.NewTable[*hotChunk](hotBits, hotBytes) }

// hotChunk is a chunk without stale markers and what is no finite number. It is never changed.
type hotChunk struct {
	first, step int64   // ms; of times at one interval
	t           []int64 // other times; nil: regular
	v           []float64
	sums        []doubled // of the first 0, rung, 2·rung, … values
	doubt       float64   // of their differences
}

// warm tells of a chunk that was decoded to t and v.
func (w *worker) warm(c *chunk.Chunk, t []int64, v []float64) {
	if c.Serial == 0 || c.Stale > 0 || len(t) == 0 || !w.hot.Due(c.Serial) || !(magnitude(v) <= huge) {
		return
	}
	x := newHot(t, v)
	w.hot.Put(c.Serial, x, x.size())
}

func newHot(t []int64, v []float64) *hotChunk {
	x := &hotChunk{first: t[0], step: 1, v: append([]float64(nil), v...), doubt: doubt(len(v), magnitude(v))}
	if len(t) > 1 {
		x.step = t[1] - t[0]
	}
	for i := range t {
		if t[i]-t[0] != int64(i)*x.step {
			x.t = append([]int64(nil), t...)
			break
		}
	}
	var sum doubled
	x.sums = append(make([]doubled, 0, len(v)/rung+1), sum)
	for i, y := range v {
		if sum = sum.plus(y); (i+1)%rung == 0 {
			x.sums = append(x.sums, sum)
		}
	}
	return x
}

func (x *hotChunk) size() int64 {
	return 128 + 8*int64(len(x.t)+len(x.v)) + 16*int64(len(x.sums))
}

func (x *hotChunk) at(i int) int64 {
	if x.t != nil {
		return x.t[i]
	}
	return x.first + int64(i)*x.step
}

// until returns how many samples are not later than t.
func (x *hotChunk) until(t int64) int {
	switch n := len(x.v); {
	case t < x.first:
		return 0
	case t >= x.at(n-1):
		return n
	case x.t != nil:
		return after(x.t, 0, t)
	}
	return int(uint64(t-x.first)/uint64(x.step)) + 1 // the ends of time may be further apart than an int64 says
}

// appendTo appends all samples to u.
func (x *hotChunk) appendTo(u *units) {
	u.v = append(u.v, x.v...)
	if x.t != nil {
		u.t = append(u.t, x.t...)
		return
	}
	for i := range x.v {
		u.t = append(u.t, x.at(i))
	}
}

// part returns what a function needs to know of the samples in (after, to].
func (x *hotChunk) part(f fn, after, to int64) chunk.Stats {
	i, j := x.until(after), x.until(to)
	if i >= j {
		return chunk.NoStats()
	}
	v := x.v[i:j]
	s := chunk.Stats{MinTime: x.at(i), MaxTime: x.at(j - 1), Samples: uint64(len(v)), First: v[0], Last: v[len(v)-1]}
	switch f {
	case fnSum, fnAvg:
		if s.Sum = x.before(j).minus(x.before(i)); math.Abs(s.Sum) < x.doubt {
			sum, c := plain(v)
			s.Sum = sum + c
		}
	case fnMin:
		s.Min = minOf(v)
	case fnMax:
		s.Max = maxOf(v)
	case fnRate, fnIncrease:
		s.Increase = s.Last - s.First
		for k := 1; k < len(v); k++ {
			if v[k] < v[k-1] {
				s.Increase = math.NaN() // it was reset: samples are needed
			}
		}
	}
	return s
}

// before is the sum of the first i values.
func (x *hotChunk) before(i int) doubled {
	sum := x.sums[i/rung]
	for _, y := range x.v[i/rung*rung : i] {
		sum = sum.plus(y)
	}
	return sum
}
