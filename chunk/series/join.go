package series

import "sort"

// part is a batch that was joined into another.
type part struct {
	of    *Batch
	first int // its first series there
}

// Join appends what another batch has, whose IDs are not wanted. What Reject rejects of b is rejected in that one, too. The bytes of
// keys are shared.
func (b *Batch) Join(o *Batch) {
	first, samples := len(b.Series), len(b.Samples)
	b.parts = append(b.parts, part{o, first})
	b.Series, b.Samples = append(b.Series, o.Series...), append(b.Samples, o.Samples...)
	for i := first; i < len(b.Series); i++ {
		b.Series[i].First += samples
	}
	for _, h := range o.Histograms {
		h.Series += first
		b.Histograms = append(b.Histograms, h)
	}
	for _, x := range o.Exemplars {
		x.Series += first
		b.Exemplars = append(b.Exemplars, x)
	}
	b.Metadata = append(b.Metadata, o.Metadata...)
}

// partOf returns what series i was joined from, or nil.
func (b *Batch) partOf(i int) *part {
	n := sort.Search(len(b.parts), func(j int) bool { return b.parts[j].first > i })
	if n == 0 {
		return nil
	}
	return &b.parts[n-1]
}

// Number is what people call series i: 1 is the first of the batch, or of the one that it was joined from.
func (b *Batch) Number(i int) int {
	if p := b.partOf(i); p != nil {
		i -= p.first
	}
	return i + 1
}
