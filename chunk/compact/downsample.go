package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
)

// Downsample writes one block below root with the buckets of a job: those of its days, made of the chunks of its sources,
// and those of other days that its old block has. Open blocks that the job does not name are passed over. The caller holds
// their references, and removes the old block when the new one is open. Chunks that lie whole in a bucket are not
// decoded; histograms are left out. When there is no bucket the error is [block.ErrEmpty].
func Downsample(ctx context.Context, job DownsampleJob, open []*block.Block, root string, o MergeOptions) (block.Meta, error) {
	d := downsampler{job: job, old: -1, to: chunk.Downsampler{Resolution: job.Resolution}}
	if err := d.begin(ctx, root, o, chunk.Span); err != nil {
		return block.Meta{}, fmt.Errorf("downsample: %w", err)
	}
	d.emit = d.series
	origin := block.Origin{Level: 1, Seq: math.MaxUint64, Resolution: job.Resolution, Covers: job.Days}
	for _, b := range open {
		meta := b.Meta()
		in := input{b: b, n: uint32(meta.Series), mint: math.MinInt64, maxt: math.MaxInt64}
		switch {
		case meta.ULID == job.Old:
			d.old = len(d.ins)
			origin.Parents = []ulid.ULID{meta.ULID}
			origin.Level = meta.Level + 1
			origin.Covers = JoinCoverage(without(meta.Covers, job.Days), job.Days)
		case slices.Contains(job.Sources, meta.ULID):
			in.mint, in.maxt = job.Days[0].Start+1, job.Days[len(job.Days)-1].End
			origin.Generation = max(origin.Generation, meta.Generation)
		default:
			continue
		}
		origin.Seq = min(origin.Seq, meta.Seq)
		d.ins = append(d.ins, in)
	}
	if o.Deleted != nil {
		origin.Seq = o.Seq
	}
	if err := d.run(ctx); err != nil {
		return block.Meta{}, errors.Join(fmt.Errorf("downsample: %w", err), d.w.Abort())
	}
	meta, err := d.w.Commit(origin)
	if err != nil {
		return block.Meta{}, fmt.Errorf("downsample: %w", err)
	}
	return meta, nil
}

type downsampler struct {
	merger
	job     DownsampleJob
	old     int // the input that is replaced; -1: none
	to      chunk.Downsampler
	buckets []chunk.Stats
	had     []chunk.Stats // the old block's, of the job's days
}

// due reports whether a time lies in one of the job's days.
func (d *downsampler) due(t int64) bool {
	i, _ := slices.BinarySearchFunc(d.job.Days, t, func(c block.Coverage, t int64) int { return cmp.Compare(c.End, t) })
	return i < len(d.job.Days) && t > d.job.Days[i].Start
}

// series writes the buckets of a series.
func (d *downsampler) series(s block.Series) error {
	d.in, d.buckets, d.had = d.in[:0], d.buckets[:0], d.had[:0]
	for _, c := range d.from {
		if c.input != d.old {
			d.in = append(d.in, c.Chunk)
			continue
		}
		kept, err := c.AppendBuckets(nil)
		if err != nil {
			return fmt.Errorf("series %s: %w", s.Labels, err)
		}
		for _, b := range kept {
			if d.due(b.MaxTime) {
				d.had = append(d.had, b)
			} else {
				d.buckets = append(d.buckets, b)
			}
		}
	}
	made, err := d.made()
	if err != nil {
		return fmt.Errorf("series %s: %w", s.Labels, err)
	}
	d.buckets = d.fuller(d.buckets, slices.DeleteFunc(made, func(b chunk.Stats) bool { return !d.due(b.MaxTime) }))
	slices.SortFunc(d.buckets, func(a, b chunk.Stats) int { return cmp.Compare(a.MaxTime, b.MaxTime) })
	d.out = chunk.EncodeBuckets(d.out[:0], d.buckets, d.job.Resolution)
	return d.w.Append(s, d.out)
}

// fuller appends the buckets that were made now to dst, and those that the old block had where they are of more samples: so
// a day that has begun to expire does not lose its buckets to a late sample.
func (d *downsampler) fuller(dst, made []chunk.Stats) []chunk.Stats {
	for len(d.had) > 0 || len(made) > 0 {
		var a, b int64 = math.MaxInt64, math.MaxInt64
		if len(d.had) > 0 {
			a = chunk.BucketEnd(d.had[0].MaxTime, d.job.Resolution)
		}
		if len(made) > 0 {
			b = chunk.BucketEnd(made[0].MaxTime, d.job.Resolution)
		}
		if a < b || a == b && d.had[0].Samples > made[0].Samples {
			dst = append(dst, d.had[0])
		} else {
			dst = append(dst, made[0])
		}
		if a <= b {
			d.had = d.had[1:]
		}
		if b <= a {
			made = made[1:]
		}
	}
	return dst
}

// made returns the buckets of the chunks of the sources. A histogram beats a number at the same time, also here.
func (d *downsampler) made() ([]chunk.Stats, error) {
	in := d.in
	for i := 1; i < len(in); i++ {
		if in[i].MinTime <= in[i-1].MaxTime { // late samples that no merge has settled yet
			var err error
			if in, err = d.cut.Append(nil, in); err != nil {
				return nil, err
			}
			break
		}
	}
	return d.to.Append(nil, in)
}

// joined writes a series of downsampled blocks, which share no day, with its buckets in as few chunks as they fit into.
func (m *merger) joined(s block.Series) error {
	var buckets []chunk.Stats
	for _, c := range m.from {
		var err error
		if buckets, err = c.AppendBuckets(buckets); err != nil {
			return fmt.Errorf("series %s: %w", s.Labels, err)
		}
	}
	m.out = chunk.EncodeBuckets(m.out[:0], buckets, m.resolution)
	return m.w.Append(s, m.out)
}

// without returns coverages without some days.
func without(cs, days []block.Coverage) []block.Coverage {
	var out []block.Coverage
	for _, c := range cs {
		for _, d := range days {
			if d.End <= c.Start || d.Start >= c.End {
				continue
			}
			if d.Start > c.Start {
				out = append(out, block.Coverage{Start: c.Start, End: d.Start, Generation: c.Generation})
			}
			c.Start = d.End
		}
		if c.Start < c.End {
			out = append(out, c)
		}
	}
	return out
}
