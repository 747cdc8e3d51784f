package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/compact"
)

// Resolution is a length of buckets that samples are downsampled to, and how long these are kept.
type Resolution struct {
	Step      time.Duration // divides 24 h, and is a multiple of the finer one's
	Retention time.Duration // 0 means for ever
}

// resolutions are the samples, and what they are downsampled to, from fine to coarse.
func (s *Store) resolutions() []Resolution {
	return append([]Resolution{{0, s.o.Retention}}, s.o.Downsample...)
}

// downsampled reports whether a block of the i-th resolution is in blocks of the next one, and may expire: so nothing
// is forgotten before its buckets are made.
func (s *Store) downsampled(metas []block.Meta, m block.Meta, i int) bool {
	if i == len(s.o.Downsample) {
		return true
	}
	step := s.o.Downsample[i].Step.Milliseconds()
	made := slices.DeleteFunc(slices.Clone(metas), func(m block.Meta) bool { return m.Resolution != step })
	made = append(made, block.Meta{Origin: block.Origin{Covers: s.emptyDays(step)}})
	return compact.Covered(made, block.Coverage{Start: m.MinTime - 1, End: m.MaxTime, Generation: m.Generation})
}

// emptyDays are those of a resolution that turned out to have no samples of what is owned now. The caller holds compactMu.
func (s *Store) emptyDays(step int64) []block.Coverage {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	if s.own != s.emptyFor {
		s.empty, s.emptyFor = map[int64][]block.Coverage{}, s.own
	}
	return s.empty[step]
}

// downsample does one job of downsampling, when there is one.
func (s *Store) downsample(ctx context.Context, now int64, o compact.Options, duty float64) (done bool, err error) {
	from := int64(0)
	metas := s.metas()
	for _, r := range s.o.Downsample {
		to := r.Step.Milliseconds()
		jobs := compact.PlanDownsample(metas, now, from, to, s.emptyDays(to), o)
		from = to
		if len(jobs) == 0 {
			continue
		}
		return true, s.downsampleJob(ctx, jobs[0], duty)
	}
	return false, nil
}

func (s *Store) downsampleJob(ctx context.Context, job compact.DownsampleJob, duty float64) error {
	v := s.view()
	defer v.close()
	v.leaveMemory()
	meta, err := compact.Downsample(ctx, job, slices.Concat(v.blocks, v.coarse), s.blocksDir(), compact.MergeOptions{
		Writer: block.WriterOptions{FS: s.o.FS}, Duty: duty, Seq: v.seq, Deleted: v.deletedOf, Keep: v.own,
	})
	var old []ulid.ULID
	if job.Old != (ulid.ULID{}) {
		old = append(old, job.Old)
	}
	if errors.Is(err, block.ErrEmpty) {
		if err := s.replace(v, nil, old...); err != nil {
			return err
		}
		s.empty[job.Resolution] = append(s.empty[job.Resolution], job.Days...)
		return nil
	}
	if err != nil {
		return err
	}
	s.o.Logger.Info("downsampled", "resolution", time.Duration(job.Resolution)*time.Millisecond, "days", len(job.Days), "block", meta.ULID)
	made, err := s.openMade(meta.ULID)
	if err != nil {
		return err
	}
	return s.replace(v, made, old...)
}
