package vector

import (
	"math"

	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// partial is what some series of groups add up to: a row of cells a group, a cell a step. Partials of
// other series can be merged into it.
type partial struct {
	op    parser.ItemType
	steps int
	v     []float64 // absent where no series had a point; of COUNT and GROUP the number
	c     []float64 // of SUM and AVG: what v rounded away
	n     []float64 // of AVG: points
	first []int32   // by group: the first series that had a point; −1 for none
}

func newPartial(op parser.ItemType, groups, steps int) *partial {
	p := &partial{op: op, steps: steps, v: make([]float64, groups*steps), first: make([]int32, groups)}
	for i := range p.v {
		p.v[i] = absent
	}
	for i := range p.first {
		p.first[i] = -1
	}
	if op == parser.SUM || op == parser.AVG {
		p.c = make([]float64, len(p.v))
	}
	if op == parser.AVG {
		p.n = make([]float64, len(p.v))
	}
	return p
}

// add adds the points of series i, which come after those of all series before it.
func (p *partial) add(group int, i int, points []float64) error {
	if p.first[group] < 0 {
		p.first[group] = int32(i)
	}
	from := group * p.steps
	v := p.v[from : from+p.steps]
	switch p.op {
	case parser.SUM, parser.AVG:
		return p.addUp(from, points)
	case parser.MIN:
		for k, x := range points {
			if !isAbsent(x) && (v[k] > x || math.IsNaN(v[k])) {
				v[k] = x
			}
		}
	case parser.MAX:
		for k, x := range points {
			if !isAbsent(x) && (v[k] < x || math.IsNaN(v[k])) {
				v[k] = x
			}
		}
	default:
		for k, x := range points {
			switch {
			case isAbsent(x):
			case isAbsent(v[k]):
				v[k] = 1
			default:
				v[k]++
			}
		}
	}
	return nil
}

func (p *partial) addUp(from int, points []float64) error {
	v, c := p.v[from:from+len(points)], p.c[from:from+len(points)]
	for k, x := range points {
		if isAbsent(x) {
			continue
		}
		if a := math.Abs(x); a > huge && a <= math.MaxFloat64 {
			return errUnfit // what overflows, and what becomes of it, depends on the order
		}
		if p.n != nil {
			p.n[from+k]++
		}
		if isAbsent(v[k]) {
			v[k] = x
			continue
		}
		v[k], c[k] = add(x, v[k], c[k])
	}
	return nil
}

// merge adds a partial of series that come after those of this one.
func (p *partial) merge(o *partial) {
	for g, i := range o.first {
		if p.first[g] < 0 {
			p.first[g] = i
		}
		p.mergeRow(g, o, g, 0)
	}
}

// mergeRow adds a row of another partial to one of this, from a step of this one on.
func (p *partial) mergeRow(to int, o *partial, from, at int) {
	for i := range o.steps {
		k, m := to*p.steps+at+i, from*o.steps+i
		switch x := o.v[m]; {
		case isAbsent(x):
			continue
		case isAbsent(p.v[k]):
			p.v[k] = x
			if p.c != nil {
				p.c[k] = o.c[m]
			}
		default:
			p.mergeCell(k, o, m)
		}
		if p.n != nil {
			p.n[k] += o.n[m]
		}
	}
}

// grow adds a row.
func (p *partial) grow() {
	for range p.steps {
		p.v = append(p.v, absent)
	}
	zeros := make([]float64, p.steps)
	if p.c != nil {
		p.c = append(p.c, zeros...)
	}
	if p.n != nil {
		p.n = append(p.n, zeros...)
	}
	p.first = append(p.first, -1)
}

func (p *partial) mergeCell(k int, o *partial, m int) {
	v, x := &p.v[k], o.v[m]
	switch p.op {
	case parser.SUM, parser.AVG:
		*v, p.c[k] = add(x, *v, p.c[k]+o.c[m])
	case parser.MIN:
		if *v > x || math.IsNaN(*v) {
			*v = x
		}
	case parser.MAX:
		if *v < x || math.IsNaN(*v) {
			*v = x
		}
	default:
		*v += x
	}
}

// finish returns the points of a group.
func (p *partial) finish(group int, pl *plan) []prom.FPoint {
	n := 0
	row := p.v[group*p.steps : (group+1)*p.steps]
	for _, x := range row {
		if !isAbsent(x) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	out := make([]prom.FPoint, 0, n)
	for i, x := range row {
		if isAbsent(x) {
			continue
		}
		k := group*p.steps + i
		switch p.op {
		case parser.SUM:
			x += p.c[k]
		case parser.AVG:
			x = x/p.n[k] + p.c[k]/p.n[k]
		case parser.GROUP:
			x = 1
		}
		out = append(out, prom.FPoint{T: pl.out + int64(i)*pl.grid.step, F: x})
	}
	return out
}
