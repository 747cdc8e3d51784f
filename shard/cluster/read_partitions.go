package cluster

import (
	"context"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/shard"
)

// maxKeys is how many shard keys matchers may stand for before all partitions are asked.
const maxKeys = 1024

// partitions are those in which series may lie that the matchers select: where they name metrics and devices, those of
// these alone.
func (r *Reader) partitions(ctx context.Context, ms []*labels.Matcher) *shard.Set {
	s := r.keyed(ms)
	if only := shard.Only(ctx); only != nil {
		s.Intersect(only)
	}
	return s
}

func (r *Reader) keyed(ms []*labels.Matcher) *shard.Set {
	names, devices := values(ms, model.MetricNameLabel), values(ms, r.o.DeviceLabel)
	if len(names) == 0 || len(devices) == 0 || len(names) > maxKeys/len(devices) {
		return shard.All()
	}
	s := &shard.Set{}
	for _, n := range names {
		for _, d := range devices {
			s.Add(shard.Partition(labels.FromStrings(model.MetricNameLabel, n, r.o.DeviceLabel, d), r.o.DeviceLabel))
		}
	}
	return s
}

// values are those that a label has in all series that the matchers select, nil when the matchers do not say.
func values(ms []*labels.Matcher, name string) []string {
	for _, m := range ms {
		if m.Name != name {
			continue
		}
		switch {
		case m.Type == labels.MatchEqual && m.Value != "":
			return []string{m.Value}
		case m.Type == labels.MatchRegexp && !m.Matches(""):
			if set := m.SetMatches(); len(set) > 0 {
				return set
			}
		}
	}
	return nil
}

// needed is how many of the owners of a partition must be heard.
func (q *question) needed(p uint16) int { return q.r.needed(len(q.v.Ring.Owners(p))) }

// one is a need of one owner.
func one(uint16) int { return 1 }

// set returns the set of a node, which is made if it is not there.
func set(m map[int]*shard.Set, node int) *shard.Set {
	s := m[node]
	if s == nil {
		s = &shard.Set{}
		m[node] = s
	}
	return s
}
