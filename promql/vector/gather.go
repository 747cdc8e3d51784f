package vector

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"

	"github.com/minitrue/minitrue/chunk/series"
)

// gathered is what several nodes found.
type gathered struct {
	p      *plan
	budget *budget
	names  names
	all    interface {
		// add adds a share of other series, or of the same from a step on at which there is nothing of them yet.
		add(s share, at int) error
		matrix() prom.Matrix
	}
}

func newGathered(p *plan, limit int64) *gathered {
	g := &gathered{p: p, budget: &budget{max: limit}, names: p.newNames()}
	if p.k > 0 {
		g.all = newRanked(p)
	} else {
		g.all = &added{p: p, max: limit, known: map[string]int{}, sum: sum{partial: newPartial(p.agg, 0, p.grid.n)}}
	}
	return g
}

func (g *gathered) add(s share, n *names, at int) error {
	g.names.join(n)
	return g.all.add(s, at)
}

func (g *gathered) answer() *answer {
	return &answer{matrix: g.all.matrix(), notes: g.names.notes(g.p)}
}

// added is the sum of what several nodes added up.
type added struct {
	sum
	p     *plan
	max   int64          // cells
	known map[string]int // group by its labels
}

func (g *added) add(of share, at int) error {
	s := of.(*sum)
	var key []byte
	for k, first := range s.first {
		if first < 0 {
			continue
		}
		ls := s.labels[k]
		key = series.AppendKey(key[:0], ls)
		to, ok := g.known[string(key)]
		if !ok {
			to = len(g.labels)
			if int64(to+1)*int64(g.steps) > g.max {
				return errUnfit // the engine counts what there is, and not what there may be
			}
			g.known[string(key)] = to
			g.labels = append(g.labels, ls)
			g.grow()
			g.first[to] = int32(to)
		}
		g.mergeRow(to, s.partial, k, at)
	}
	return nil
}

// matrix is sorted by labels: there is no order in which several nodes meet groups.
func (g *added) matrix() (m prom.Matrix) {
	for _, r := range g.rows(g.p) {
		if len(r.Floats) > 0 {
			m = append(m, r.Series)
		}
	}
	slices.SortFunc(m, func(x, y prom.Series) int { return labels.Compare(x.Metric, y.Metric) })
	return m
}
