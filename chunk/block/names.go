package block

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// LabelNames returns the sorted label names of the series that match all matchers.
func (b *Block) LabelNames(ms ...*labels.Matcher) ([]string, error) {
	if len(ms) == 0 {
		return slices.Clone(b.index.names), nil
	}
	ords, err := b.Postings(ms...)
	if err != nil {
		return nil, err
	}
	seen := make([]bool, len(b.index.names))
	left := len(seen)
	for _, o := range ords {
		if left == 0 {
			break
		}
		err := b.index.each(o, func(name int, _ []byte) {
			if !seen[name] {
				seen[name] = true
				left--
			}
		})
		if err := b.because(err); err != nil {
			return nil, err
		}
	}
	var names []string
	for i, s := range seen {
		if s {
			names = append(names, b.index.names[i])
		}
	}
	return names, nil
}

// LabelValues returns the sorted values of a label among the series that match all matchers.
func (b *Block) LabelValues(name string, ms ...*labels.Matcher) ([]string, error) {
	from, to, ok := b.index.nameRange(name)
	if !ok {
		return nil, nil
	}
	seen := make([]bool, to-from)
	if len(ms) > 0 {
		ords, err := b.Postings(ms...)
		if err != nil {
			return nil, err
		}
		for _, o := range ords {
			if p, ok := b.index.pairOf(o, from, to); ok {
				seen[p-from] = true
			}
		}
	}
	var values []string
	for p := from; p < to; p++ {
		if len(ms) == 0 || seen[p-from] {
			values = append(values, string(b.index.value(p)))
		}
	}
	return values, b.Err()
}
