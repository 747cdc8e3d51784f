package compact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
)

// bucketsOf are the buckets of a model's numbers.
func bucketsOf(m model, name string, resolution int64, until int64) []chunk.Stats {
	var out []chunk.Stats
	last := int64(math.MinInt64)
	for _, t := range slices.Sorted(maps.Keys(m[name])) {
		end := chunk.BucketEnd(t, resolution)
		if s := m[name][t]; s.h == nil && t <= until {
			if end != last {
				out = append(out, chunk.NoStats())
			}
			last = end
			out[len(out)-1].Observe(t, s.v)
		}
	}
	return out
}

func near(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b))
}

func sameBucket(a, b chunk.Stats) bool {
	return a.MinTime == b.MinTime && a.MaxTime == b.MaxTime && a.Samples == b.Samples && a.Stale == b.Stale && near(a.Min, b.Min) &&
		near(a.Max, b.Max) && near(a.First, b.First) && near(a.Last, b.Last) && near(a.Total(), b.Total()) && near(a.Increase, b.Increase)
}

// compareBuckets fails unless blocks of one resolution hold exactly the buckets of a model.
func compareBuckets(t *testing.T, blocks []*block.Block, m model, sets map[string]labels.Labels, resolution, until int64) {
	t.Helper()
	for name, ls := range sets {
		var got []chunk.Stats
		for _, b := range blocks {
			if b.Meta().Resolution != resolution {
				continue
			}
			ords, err := b.Postings(labels.MustNewMatcher(labels.MatchEqual, "i", ls.Get("i")))
			if err != nil {
				t.Fatal(err)
			}
			for _, ord := range ords {
				rows, err := b.Chunks(nil, ord, math.MinInt64, math.MaxInt64)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					c, err := b.Chunk(r)
					if err != nil {
						t.Fatal(err)
					}
					if got, err = c.AppendBuckets(got); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		slices.SortFunc(got, func(a, b chunk.Stats) int { return int(a.MinTime - b.MinTime) })
		if want := bucketsOf(m, name, resolution, until); !slices.EqualFunc(got, want, sameBucket) {
			for i := range min(len(got), len(want)) {
				if !sameBucket(got[i], want[i]) {
					t.Fatalf("%s at %d ms: bucket %d is\n%+v, want\n%+v", name, resolution, i, got[i], want[i])
				}
			}
			t.Fatalf("%s at %d ms: %d buckets, want %d", name, resolution, len(got), len(want))
		}
	}
}

// Random flushes, late ones among them, merges of either kind, and what the plan asks for: in the end the buckets are those of
// the samples, whatever came in which order.
func TestDownsampleAgainstModel(t *testing.T) {
	const fine, coarse = 300_000, 3_600_000
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 9))
		root := t.TempDir()
		sets := map[string]labels.Labels{}
		for i := range 3 {
			ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))
			sets[ls.String()] = ls
		}
		want, blocks := model{}, []*block.Block(nil)
		until := int64(4) * Day.Milliseconds()
		now := time.Now().Add(24 * time.Hour).UnixMilli() // blocks made in the test are not young then
		for generation := uint64(1); generation < 6; generation++ {
			one := model{}
			from := rng.Int64N(until)
			for range 1 + rng.IntN(3000) {
				from += rng.Int64N(60_000)
				for _, ls := range sets {
					if rng.IntN(4) > 0 {
						s := sample{v: math.Round(rng.Float64()*1000) / 10}
						if rng.IntN(300) == 0 {
							s = sample{h: hist(3)}
						}
						one.add(ls, from/1000*1000, s)
						want.add(ls, from/1000*1000, s)
					}
				}
			}
			blocks = append(blocks, writeFlush(t, root, one, sets, generation))
			if rng.IntN(2) == 0 {
				blocks = settle(t, root, blocks, now, fine, coarse)
			}
		}
		blocks = settle(t, root, blocks, now, fine, coarse)
		compareBuckets(t, blocks, want, sets, fine, math.MaxInt64)
		compareBuckets(t, blocks, want, sets, coarse, math.MaxInt64)
		if rng.IntN(2) == 0 {
			for _, b := range blocks {
				if err := b.Verify(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// settle does what the plans ask for until they ask for nothing.
func settle(t *testing.T, root string, blocks []*block.Block, now, fine, coarse int64) []*block.Block {
	t.Helper()
	empty := map[int64][]block.Coverage{}
	for round := 0; ; round++ {
		if round > 200 {
			t.Fatal("the plans never end")
		}
		metas := make([]block.Meta, len(blocks))
		for i, b := range blocks {
			metas[i] = b.Meta()
		}
		jobs := append(PlanDownsample(metas, now, 0, fine, empty[fine], Options{}), PlanDownsample(metas, now, fine, coarse, empty[coarse], Options{})...)
		if len(jobs) > 0 {
			meta, err := Downsample(context.Background(), jobs[0], blocks, root, MergeOptions{})
			if errors.Is(err, block.ErrEmpty) {
				empty[jobs[0].Resolution] = append(empty[jobs[0].Resolution], jobs[0].Days...)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(slices.DeleteFunc(blocks, func(b *block.Block) bool { return b.Meta().ULID == jobs[0].Old }), open(t, root, meta))
			continue
		}
		plan := Plan(metas, now, Options{Force: true})
		if len(plan) == 0 {
			return blocks
		}
		var in []*block.Block
		blocks = slices.DeleteFunc(blocks, func(b *block.Block) bool {
			if slices.Contains(plan[0].Blocks, b.Meta().ULID) {
				in = append(in, b)
				return true
			}
			return false
		})
		meta, err := Merge(context.Background(), in, root, MergeOptions{Window: plan[0].Range})
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, open(t, root, meta))
	}
}

func TestCoverageArithmetic(t *testing.T) {
	c := func(s, e int64, g uint64) block.Coverage { return block.Coverage{Start: s, End: e, Generation: g} }
	got := without([]block.Coverage{c(0, 10, 1), c(20, 30, 2)}, []block.Coverage{c(2, 4, 9), c(8, 22, 9)})
	if want := []block.Coverage{c(0, 2, 1), c(4, 8, 1), c(22, 30, 2)}; !slices.Equal(got, want) {
		t.Errorf("without: %v, want %v", got, want)
	}
	got = JoinCoverage([]block.Coverage{c(5, 6, 1), c(0, 5, 1)}, []block.Coverage{c(6, 7, 2)})
	if want := []block.Coverage{c(0, 6, 1), c(6, 7, 2)}; !slices.Equal(got, want) {
		t.Errorf("JoinCoverage: %v, want %v", got, want)
	}
}
