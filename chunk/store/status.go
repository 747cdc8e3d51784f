package store

import (
	"cmp"
	"path/filepath"
	"slices"
)

// Status describes what the store holds.
type Status struct {
	Series     int   // active series, in memory
	LabelPairs int   // different label names and values of these
	Samples    int64 // in memory
	Chunks     int64 // in memory, about
	Blocks     int
	BlockBytes int64
	Quarantine []string // folders of damaged blocks that were set aside, whose samples are missing
	MinTime    int64    // ms, of what is in memory; greater than MaxTime if there is nothing
	MaxTime    int64

	SeriesByMetric []Count // the most first
	ValuesByLabel  []Count
	BytesByLabel   []Count // of the values
	SeriesByPair   []Count // "name=value"
}

// Count is how often a name occurs.
type Count struct {
	Name  string
	Value int
}

// Status returns what the store holds, with the limit most frequent names of each kind.
func (s *Store) Status(limit int) Status {
	v := s.view()
	defer v.close()
	st := Status{Series: v.activeSeries(), Blocks: len(v.blocks), MinTime: 1<<63 - 1, MaxTime: -1 << 63}
	for _, t := range v.tables {
		st.Samples += t.Samples()
		st.Chunks += t.Closed()
		lo, hi := t.Bounds()
		st.MinTime, st.MaxTime = min(st.MinTime, lo), max(st.MaxTime, hi)
	}
	st.Chunks += int64(st.Series) // the open ones
	for _, b := range v.blocks {
		for _, f := range b.Meta().Files {
			st.BlockBytes += f.Size
		}
	}
	st.Quarantine, _ = filepath.Glob(filepath.Join(s.dir, quarantineDir, "*")) // the pattern is a good one
	values, bytes := map[string]int{}, map[string]int{}
	v.registries[0].Cardinality(func(name, value string, series int) {
		st.LabelPairs++
		if name == "__name__" {
			st.SeriesByMetric = append(st.SeriesByMetric, Count{value, series})
		}
		values[name]++
		bytes[name] += len(value)
		st.SeriesByPair = append(st.SeriesByPair, Count{name + "=" + value, series})
		if len(st.SeriesByPair) > 2*limit+1000 {
			st.SeriesByPair = top(st.SeriesByPair, limit)
		}
	})
	st.SeriesByMetric = top(st.SeriesByMetric, limit)
	st.SeriesByPair = top(st.SeriesByPair, limit)
	st.ValuesByLabel = top(counts(values), limit)
	st.BytesByLabel = top(counts(bytes), limit)
	return st
}

func counts(m map[string]int) []Count {
	cs := make([]Count, 0, len(m))
	for n, v := range m {
		cs = append(cs, Count{n, v})
	}
	return cs
}

func top(cs []Count, limit int) []Count {
	slices.SortFunc(cs, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.Name, b.Name)) })
	return cs[:min(limit, len(cs))]
}
