package send

import (
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// batch is what one request carries. It owns its memory.
type batch struct {
	at      map[uint64]int // by hash of labels, into entries
	entries []entry
	counts
	bytes int // about
}

// counts are of what a request carries, or of what was done with it.
type counts struct{ samples, histograms, exemplars int }

func (c counts) total() int { return c.samples + c.histograms + c.exemplars }

// entry is one series of a batch.
type entry struct {
	labels     labels.Labels
	floats     []series.Sample
	histograms []series.Histogram
	exemplars  []exemplar.Exemplar
	about      *series.Metadata
}

func newBatch() *batch { return &batch{at: map[uint64]int{}} }

func (b *batch) reset() {
	clear(b.at)
	for i := range b.entries {
		e := &b.entries[i]
		*e = entry{floats: e.floats[:0], histograms: e.histograms[:0], exemplars: e.exemplars[:0]}
	}
	b.entries, b.counts, b.bytes = b.entries[:0], counts{}, 0
}

// entry returns the place of a series, a new one if it has none.
func (b *batch) entry(hash uint64, ls labels.Labels) *entry {
	if i, ok := b.at[hash]; ok && labels.Equal(b.entries[i].labels, ls) {
		return &b.entries[i]
	}
	b.at[hash] = len(b.entries)
	if len(b.entries) < cap(b.entries) {
		b.entries = b.entries[:len(b.entries)+1]
	} else {
		b.entries = append(b.entries, entry{})
	}
	e := &b.entries[len(b.entries)-1]
	e.labels = ls
	b.bytes += ls.Len() * 32
	return e
}

const (
	sampleBytes    = 20
	histogramBytes = 400
)

// add copies of a run what fits a limit, and returns how much that was: floats first, then histograms, then exemplars.
func (b *batch) add(hash uint64, r *flow.Run, samples, bytes int) (took counts) {
	room := func() bool {
		return b.total() == 0 || b.total() < samples && b.bytes < bytes
	}
	if !room() {
		return took
	}
	e := b.entry(hash, r.Labels)
	if r.About != nil {
		e.about = r.About
	}
	n := max(min(len(r.Floats), samples-b.total(), (bytes-b.bytes)/sampleBytes+1), min(1, len(r.Floats)))
	e.floats = append(e.floats, r.Floats[:n]...)
	took.samples = n
	b.samples += n
	b.bytes += n * sampleBytes
	for ; took.histograms < len(r.Histograms) && room(); took.histograms++ {
		e.histograms = append(e.histograms, r.Histograms[took.histograms])
		b.histograms++
		b.bytes += histogramBytes
	}
	for ; took.exemplars < len(r.Exemplars) && room(); took.exemplars++ {
		e.exemplars = append(e.exemplars, r.Exemplars[took.exemplars])
		b.exemplars++
		b.bytes += 100
	}
	return took
}

// halves splits a batch that a target finds too large. ok is false when there is nothing to split.
func (b *batch) halves() (x, y *batch, ok bool) {
	if b.total() < 2 {
		return nil, nil, false
	}
	x, y = newBatch(), newBatch()
	limit := b.total() / 2
	for i := range b.entries {
		e := &b.entries[i]
		r := flow.Run{Labels: e.labels, Floats: e.floats, Histograms: e.histograms, Exemplars: e.exemplars, About: e.about}
		var took counts
		if x.total() < limit {
			took = x.add(uint64(i), &r, limit, 1<<40)
		}
		r.Floats, r.Histograms, r.Exemplars = r.Floats[took.samples:], r.Histograms[took.histograms:], r.Exemplars[took.exemplars:]
		if r.Len() > 0 {
			y.add(uint64(i), &r, 1<<40, 1<<40)
		}
	}
	return x, y, true
}
