package store

import (
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/compact"
	"github.com/minitrue/minitrue/shard"
)

// Own says in which partitions the series are that are kept: compaction drops all others. Nil, as it is at the start, keeps
// everything. It is called before anything is appended to a partition that is new in the set. What is being dropped when a partition comes
// into the set is gone when Own returns, or stays. Readers are not limited by it. The caller does not change the set any more.
func (s *Store) Own(parts *shard.Set) {
	s.viewMu.Lock()
	s.own = parts
	s.viewMu.Unlock()
	signal(s.merge)
}

// errReowned is of a merge that would drop what is owned by now. It is to be planned anew.
var errReowned = errors.New("partitions came to be owned while others' series were dropped")

// mayDrop reports whether what is not in a set, by which blocks were merged, is still to be dropped. The caller holds viewMu.
func (s *Store) mayDrop(kept *shard.Set) bool {
	if kept == nil || kept == s.own {
		return true
	}
	if s.own == nil {
		return false
	}
	more := *s.own
	more.Minus(kept)
	return more.Len() == 0
}

// muchForeign is the part of its series, one in so many, from which on foreign ones are a reason to write a block anew.
const muchForeign = 20

// planForeign returns the blocks that hold many series of partitions that are not owned, each to be written anew. Where there are
// few they go with the next merge.
func (s *Store) planForeign(o compact.Options) (jobs []compact.Job, err error) {
	v := s.view()
	defer v.close()
	v.leaveMemory()
	if v.own == nil {
		s.foreign = nil
		return nil, nil
	}
	if s.foreign == nil || s.foreign.own != v.own {
		s.foreign = &foreign{own: v.own, series: map[ulid.ULID]uint64{}}
	}
	for _, b := range slices.Concat(v.blocks, v.coarse) {
		n, err := s.foreign.of(b)
		if err != nil {
			return nil, err
		}
		m := b.Meta()
		if n*muchForeign >= m.Series || o.Force && n > 0 {
			jobs = append(jobs, compact.Job{Blocks: []ulid.ULID{m.ULID}, Range: compact.RangeOf(m, o)})
		}
	}
	return jobs, nil
}

// foreign remembers how many series of each block are in partitions that are not owned.
type foreign struct {
	own    *shard.Set
	series map[ulid.ULID]uint64
}

func (f *foreign) of(b *block.Block) (uint64, error) {
	m := b.Meta()
	if n, ok := f.series[m.ULID]; ok {
		return n, nil
	}
	all, err := b.Postings()
	if err != nil {
		return 0, err
	}
	own, err := b.Within(all, f.own)
	if err != nil {
		return 0, err
	}
	n := m.Series - uint64(len(own))
	f.series[m.ULID] = n
	return n, nil
}
