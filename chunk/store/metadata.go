package store

import (
	"maps"
	"slices"
	"sync"

	"github.com/minitrue/minitrue/chunk/series"
)

// metadata holds what is known of metric families, the newest of each. What is beyond the limits is
// left out.
type metadata struct {
	mu    sync.Mutex // guards byFam and bytes
	byFam map[string]series.Metadata
	bytes int // of their texts
	max   int
}

// metadataBytes is how many bytes of metadata there may be. All of it is in memory, and goes to the log with each flush.
const metadataBytes = 64 << 20

func newMetadata(n int) *metadata { return &metadata{byFam: map[string]series.Metadata{}, max: n} }

func (d *metadata) set(m series.Metadata) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, ok := d.byFam[m.Family]
	if more := textOf(m) - textOf(old); (ok || len(d.byFam) < d.max) && d.bytes+more <= metadataBytes {
		d.byFam[m.Family] = m
		d.bytes += more
	}
}

func textOf(m series.Metadata) int { return len(m.Family) + len(m.Type) + len(m.Unit) + len(m.Help) }

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
