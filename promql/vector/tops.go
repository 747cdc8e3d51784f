package vector

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/schema"

	"github.com/minitrue/minitrue/chunk/series"
)

// tops evaluates a plan with topk or bottomk.
func (r *run) tops(ctx context.Context) (*tops, error) {
	g := r.p.group(r.sel)
	if len(g.labels)*r.p.grid.n*r.p.k > mostN {
		return nil, errTogether
	}
	h := hashes{r: r, of: make([]atomic.Uint64, r.sel.Len())}
	var mu sync.Mutex // guards all
	var all []*ranking
	err := r.parallel(ctx, len(g.of), portion, func(w *worker, from, to int) error {
		if w.ranking == nil {
			w.ranking = r.p.newRanking(len(g.labels), h.hash)
			mu.Lock()
			all = append(all, w.ranking)
			mu.Unlock()
		}
		for i := from; i < to; i++ {
			n, err := w.note(i)
			if err != nil {
				return err
			}
			if n > 0 {
				w.ranking.add(int(g.of[i]), w.out, int32(i))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return &tops{}, nil
	}
	for _, o := range all[1:] {
		all[0].merge(o)
	}
	return all[0].tops(r.labels), nil
}

// labels are those that the function leaves a series.
func (r *run) labels(i int32) labels.Labels {
	var b labels.ScratchBuilder
	ls := r.sel.Labels(int(i), &b)
	if r.p.fn.drops() {
		return ls.DropReserved(schema.IsMetadataLabel)
	}
	return ls
}

// hashes are those of the series of a run, each worked out when it is asked for.
type hashes struct {
	r  *run
	of []atomic.Uint64 // 0: not known
}

func (h *hashes) hash(i int32) uint64 {
	x := h.of[i].Load()
	if x == 0 {
		x = hashOf(h.r.labels(i))
		h.of[i].Store(x)
	}
	return x
}

// hashOf is the same on all nodes, and not 0.
func hashOf(ls labels.Labels) uint64 { return series.HashKey(series.AppendKey(nil, ls)).Lo | 1 }

// ranked is what is best of what several nodes found to be the best.
type ranked struct {
	*ranking
	p      *plan
	known  map[string]int32 // id of a series by its labels
	groups map[string]int   // by the labels that make them
	labels []labels.Labels  // by id
	hashes []uint64
	b      *labels.Builder
}

func newRanked(p *plan) *ranked {
	g := &ranked{p: p, known: map[string]int32{}, groups: map[string]int{}, b: labels.NewBuilder(labels.EmptyLabels())}
	g.ranking = p.newRanking(0, func(id int32) uint64 { return g.hashes[id] })
	return g
}

// group returns the group of a series.
func (g *ranked) group(ls labels.Labels) (int, error) {
	g.b.Reset(ls)
	if g.p.without {
		g.b.Del(g.p.by...)
	} else {
		g.b.Keep(g.p.by...)
	}
	key := string(series.AppendKey(nil, g.b.Labels()))
	n, ok := g.groups[key]
	if !ok {
		n = len(g.groups)
		g.groups[key] = n
		return n, g.grow()
	}
	return n, nil
}

func (g *ranked) add(s share, at int) error {
	t := s.(*tops)
	for row, ls := range t.labels {
		group, err := g.group(ls)
		if err != nil {
			return err
		}
		key := string(series.AppendKey(nil, ls))
		id, ok := g.known[key]
		if !ok {
			id = int32(len(g.labels))
			g.known[key] = id
			g.labels, g.hashes = append(g.labels, ls), append(g.hashes, hashOf(ls))
		}
		for _, x := range t.points[row] {
			g.rank(group*g.steps+at+int(x.step), item{x.v, id})
		}
	}
	return nil
}

// matrix is what is best of all, of a single step group by group, the best first.
func (g *ranked) matrix() prom.Matrix {
	t := g.tops(func(id int32) labels.Labels { return g.labels[id] })
	m := make(prom.Matrix, len(t.labels))
	for i, ls := range t.labels {
		m[i] = prom.Series{Metric: ls, Floats: make([]prom.FPoint, len(t.points[i]))}
		for k, x := range t.points[i] {
			m[i].Floats[k] = prom.FPoint{T: g.p.out + int64(x.step)*g.p.grid.step, F: x.v}
		}
	}
	return m
}
