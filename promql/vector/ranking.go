package vector

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	mostK = 1000    // of topk and bottomk that are left to other nodes
	mostN = 1 << 20 // items of a ranking
)

// ranking has the k best points of each group and step. NaN is the worst, as it is in Prometheus's engine; of equal points the one
// with the smaller hash is the better, whoever ranks them: the engine takes what storage returns first, and in a cluster nothing is.
type ranking struct {
	k, steps int
	bottom   bool
	tie      func(id int32) uint64
	cells    [][]item // by group and step; the best first
}

// item is a point of a series.
type item struct {
	v  float64
	id int32
}

func (p *plan) newRanking(groups int, tie func(id int32) uint64) *ranking {
	return &ranking{k: p.k, steps: p.grid.n, bottom: p.agg == parser.BOTTOMK, tie: tie, cells: make([][]item, groups*p.grid.n)}
}

// grow adds a group, unless there are too many.
func (r *ranking) grow() error {
	if (len(r.cells)+r.steps)*r.k > mostN {
		return errTogether
	}
	r.cells = append(r.cells, make([][]item, r.steps)...)
	return nil
}

func (r *ranking) better(a, b item) bool {
	switch {
	case a.v == b.v || math.IsNaN(a.v) && math.IsNaN(b.v):
		return r.tie(a.id) < r.tie(b.id)
	case math.IsNaN(a.v) || math.IsNaN(b.v):
		return math.IsNaN(b.v)
	case r.bottom:
		return a.v < b.v
	}
	return a.v > b.v
}

// add ranks the points of a series.
func (r *ranking) add(group int, points []float64, id int32) {
	for i, v := range points {
		if !isAbsent(v) {
			r.rank(group*r.steps+i, item{v, id})
		}
	}
}

func (r *ranking) rank(cell int, x item) {
	c := r.cells[cell]
	if len(c) == r.k && !r.better(x, c[len(c)-1]) {
		return
	}
	if len(c) == r.k {
		c = c[:len(c)-1]
	}
	i := len(c)
	for i > 0 && r.better(x, c[i-1]) {
		i--
	}
	r.cells[cell] = slices.Insert(c, i, x)
}

// merge ranks the points of another ranking too.
func (r *ranking) merge(o *ranking) {
	for cell, c := range o.cells {
		for _, x := range c {
			r.rank(cell, x)
		}
	}
}

// tops are series with what is left of their points.
type tops struct {
	labels []labels.Labels
	points [][]point
}

type point struct {
	step int32
	v    float64
}

// tops returns what is best of the series whose labels are by id: group by group, of a single step the best first.
func (r *ranking) tops(labelsOf func(id int32) labels.Labels) *tops {
	t := &tops{}
	row := map[int32]int{}
	for cell, c := range r.cells {
		for _, x := range c {
			i, ok := row[x.id]
			if !ok {
				i = len(t.labels)
				row[x.id] = i
				t.labels, t.points = append(t.labels, labelsOf(x.id)), append(t.points, nil)
			}
			t.points[i] = append(t.points[i], point{int32(cell % r.steps), x.v})
		}
	}
	return t
}
