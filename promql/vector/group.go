package vector

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/schema"
	"github.com/prometheus/prometheus/util/annotations"
)

// groups say which series an aggregation adds up.
type groups struct {
	of     []int32 // by series
	labels []labels.Labels
}

// metadata are the labels that functions drop: the name, and what belongs to it.
var metadata = []string{model.MetricNameLabel, model.MetricTypeLabel, model.MetricUnitLabel}

// group finds the groups of all series of a selection.
func (p *plan) group(sel Selection) *groups {
	g := &groups{of: make([]int32, sel.Len())}
	if !p.without && len(p.by) == 0 {
		g.labels = []labels.Labels{labels.EmptyLabels()}
		return g
	}
	names := p.by
	if p.fn.drops() {
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(metadata, n) })
	}
	key := func(dst []byte, i int) []byte { return sel.AppendValues(dst, i, names...) }
	var sb labels.ScratchBuilder
	build := func(key []byte, _ int) labels.Labels { return labelsOf(&sb, names, key) }
	if p.without {
		b := labels.NewBuilder(labels.EmptyLabels())
		build = func(_ []byte, i int) labels.Labels {
			b.Reset(sel.Labels(i, &sb))
			return b.Del(p.by...).Labels()
		}
		key = func(dst []byte, i int) []byte { return build(nil, i).Bytes(dst) }
	}
	known := map[string]int32{}
	var buf []byte
	for i := range g.of {
		buf = key(buf[:0], i)
		n, ok := known[string(buf)]
		if !ok {
			n = int32(len(g.labels))
			known[string(buf)] = n
			g.labels = append(g.labels, build(buf, i))
		}
		g.of[i] = n
	}
	return g
}

// labelsOf makes labels of sorted names and their values, each of which ends with 0xff.
func labelsOf(sb *labels.ScratchBuilder, names []string, values []byte) labels.Labels {
	sb.Reset()
	for _, name := range names {
		end := slices.Index(values, 0xff)
		if end > 0 {
			sb.Add(name, string(values[:end]))
		}
		values = values[end+1:]
	}
	return sb.Labels()
}

// names are the metric names of series that have points.
type names struct {
	fixed string // not empty: all series have this one
	odd   bool   // some series has more metadata than a name
	seen  map[string]bool
	last  string // of them, the one that was met last
	key   []byte
}

// newNames looks at the matchers: mostly they name one metric.
func (p *plan) newNames() names {
	n := names{seen: map[string]bool{}}
	for _, m := range p.matchers {
		if m.Type == labels.MatchEqual && m.Name == model.MetricNameLabel {
			n.fixed = m.Value
		}
	}
	return n
}

// add takes notice of a series.
func (n *names) add(sel Selection, i int) {
	n.key = sel.AppendValues(n.key[:0], i, metadata...)
	end := slices.Index(n.key, 0xff)
	n.odd = n.odd || len(n.key) != end+3
	if !n.seen[string(n.key[:end])] {
		n.seen[string(n.key[:end])] = true
	}
}

// addLabels is add for labels that are at hand.
func (n *names) addLabels(ls labels.Labels) {
	for _, name := range metadata[1:] {
		n.odd = n.odd || ls.Has(name)
	}
	if name := ls.Get(metadata[0]); name != n.last || len(n.seen) == 0 {
		n.seen[name], n.last = true, name
	}
}

// join takes over what another has noticed.
func (n *names) join(o *names) {
	n.odd = n.odd || o.odd
	maps.Copy(n.seen, o.seen)
}

// notes are what the engine remarks about the metrics.
func (n *names) notes(p *plan) annotations.Annotations {
	var notes annotations.Annotations
	if p.fn != fnRate && p.fn != fnIncrease {
		return notes
	}
	for name := range n.seen {
		if name != "" && !slices.ContainsFunc([]string{"_total", "_sum", "_count", "_bucket"}, func(end string) bool { return strings.HasSuffix(name, end) }) {
			notes.Add(annotations.NewPossibleNonCounterInfo(name, p.arg))
		}
	}
	return notes
}

// twice says whether two of the series have equal labels once a function has dropped their names.
func twice(sel Selection, has []bool) bool {
	var sb labels.ScratchBuilder
	var buf []byte
	seen := map[string]bool{}
	for i, h := range has {
		if !h {
			continue
		}
		buf = sel.Labels(i, &sb).DropReserved(schema.IsMetadataLabel).Bytes(buf[:0])
		if seen[string(buf)] {
			return true
		}
		seen[string(buf)] = true
	}
	return false
}
