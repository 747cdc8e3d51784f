package store

import (
	"context"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/head"
)

// LabelValues returns the sorted values of a label.
func (q *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if limit(ctx) != nil {
		var buf []byte
		return q.found(ctx, hints, ms, func(h *hit, add func(string)) {
			if buf = q.v.appendValues(buf[:0], h, name); len(buf) > 1 {
				add(string(buf[:len(buf)-1])) // without the end mark
			}
		})
	}
	return q.strings(hints,
		func(r *head.Registry) []string { return r.LabelValues(name, ms...) },
		func(b *block.Block) ([]string, error) { return b.LabelValues(name, ms...) })
}

// LabelNames returns the sorted label names.
func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if limit(ctx) != nil {
		var b labels.ScratchBuilder
		return q.found(ctx, hints, ms, func(h *hit, add func(string)) {
			q.v.labels(h, &b).Range(func(l labels.Label) { add(l.Name) })
		})
	}
	return q.strings(hints,
		func(r *head.Registry) []string { return r.LabelNames(ms...) },
		func(b *block.Block) ([]string, error) { return b.LabelNames(ms...) })
}

// found collects strings of the series that the matchers select, where not all partitions are wanted: what registries and
// blocks know without looking at series is of all.
func (q *querier) found(ctx context.Context, hints *storage.LabelHints, ms []*labels.Matcher, of func(h *hit, add func(string))) ([]string, annotations.Annotations, error) {
	hits, err := q.v.find(ctx, q.mint, q.maxt, ms)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	var all []string
	add := func(s string) {
		if !seen[s] {
			s = strings.Clone(s)
			seen[s] = true
			all = append(all, s)
		}
	}
	for i := range hits {
		of(&hits[i], add)
	}
	if err := q.v.err(); err != nil {
		return nil, nil, err
	}
	return sorted(all, hints), nil, nil
}

// sorted sorts strings, each of which it keeps once, and no more than are wanted.
func sorted(all []string, hints *storage.LabelHints) []string {
	slices.Sort(all)
	all = slices.Compact(all)
	if hints != nil && hints.Limit > 0 && len(all) > hints.Limit {
		all = all[:hints.Limit]
	}
	return all
}

func (q *querier) strings(hints *storage.LabelHints, memory func(*head.Registry) []string, blocks func(*block.Block) ([]string, error)) ([]string, annotations.Annotations, error) {
	var all []string
	if q.v.inMemory(q.mint, q.maxt) {
		for _, r := range q.v.registries {
			all = append(all, memory(r)...)
		}
	}
	for _, b := range q.v.blocks {
		if m := b.Meta(); m.MinTime > q.maxt || m.MaxTime < q.mint {
			continue
		}
		more, err := blocks(b)
		if err != nil {
			q.s.met(err)
			return nil, nil, err
		}
		all = append(all, more...)
	}
	return sorted(all, hints), nil, nil
}
