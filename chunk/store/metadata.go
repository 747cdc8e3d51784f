package store

import (
	"maps"
	"slices"
	"sync"

	"github.com/minitrue/minitrue/chunk/series"
)

// metadata holds what is known of metric families, the newest of each. A family beyond the limit is
// left out.
type metadata struct {
	mu    sync.Mutex // guards byFam
	byFam map[string]series.Metadata
	max   int
}

func newMetadata(n int) *metadata { return &metadata{byFam: map[string]series.Metadata{}, max: n} }

func (d *metadata) set(m series.Metadata) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.byFam[m.Family]; ok || len(d.byFam) < d.max {
		d.byFam[m.Family] = m
	}
}

func (d *metadata) all() []series.Metadata {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]series.Metadata, 0, len(d.byFam))
	for _, f := range slices.Sorted(maps.Keys(d.byFam)) {
		all = append(all, d.byFam[f])
	}
	return all
}

// Metadata calls yield for every metric family that is described, by name.
func (s *Store) Metadata(yield func(series.Metadata) bool) {
	for _, m := range s.metadata.all() {
		if !yield(m) {
			return
		}
	}
}
