// Package flow is what import and export carry: some samples of one series, and where they come from and go to.
//
//	Source ──▶ Run, Run, … ──▶ sender or file
package flow

import (
	"context"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// Run is some samples of one series. A series may come in many runs. Its slices belong to whoever made it, and
// are good until the function that it was given to returns; labels, histograms and exemplars stay.
type Run struct {
	Labels     labels.Labels
	Floats     []series.Sample
	Histograms []series.Histogram // whose Series says nothing
	Exemplars  []exemplar.Exemplar
	About      *series.Metadata // nil when nothing is known
}

// Len counts samples, histograms and exemplars.
func (r *Run) Len() int { return len(r.Floats) + len(r.Histograms) + len(r.Exemplars) }

// A Source is read front to back.
type Source interface {
	// Name tells one source, and one content of it, from another. "" means that it can be read but once.
	Name() string
	// Read calls emit for every run behind a position, which is 0 or was given to mark. It calls mark now and then: what was emitted
	// before need not be read again from that position.
	Read(ctx context.Context, from int64, emit func(*Run) error, mark func(position int64) error) error
}
