package repair

import (
	"context"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// slowMemory is a store for which digests are work.
type slowMemory struct {
	*memory
	steps int
}

func (m *slowMemory) Digests(ctx context.Context, mint, maxt int64) ([]shard.Leaf, error) {
	for range m.steps {
		duty.Rest(ctx)
	}
	return m.memory.Digests(ctx, mint, maxt)
}

func (m *slowMemory) SeriesDigests(ctx context.Context, window int64) ([]series.SeriesDigest, error) {
	for range m.steps {
		duty.Rest(ctx)
	}
	return m.memory.SeriesDigests(ctx, window)
}

// Working digests out rests three quarters of the time, but not for so long that a peer would give up.
func TestDigestsRest(t *testing.T) {
	for _, kind := range []Kind{Leaves, Series} {
		c := newTrio(t, 2, shard.Active, shard.Active)
		rep := c.nodes[0].rep
		now := time.UnixMilli(c.clock)
		worked, rested := time.Duration(0), time.Duration(0)
		rep.store = &slowMemory{newMemory(), 10_000}
		rep.o.Now = func() time.Time { now, worked = now.Add(time.Millisecond), worked+time.Millisecond; return now }
		rep.wait = func(_ context.Context, d time.Duration) error {
			now, rested = now.Add(d), rested+d
			return nil
		}
		if _, err := rep.Answer(t.Context(), Question{Kind: kind, Parts: shard.All(), Mint: start, Cut: start, Maxt: start + shard.WindowMillis}); err != nil {
			t.Fatal(err)
		}
		if rested < restFor/3 || rested > restFor {
			t.Errorf("%v: it has rested for %v, want for most of %v", kind, rested, restFor)
		}
		if worked < 10*time.Second {
			t.Errorf("%v: it has worked for %v", kind, worked)
		}
	}
}

// unasked is a store that must not be asked for digests.
type unasked struct {
	*memory
	t *testing.T
}

func (m unasked) Digests(context.Context, int64, int64) ([]shard.Leaf, error) {
	m.t.Error("the store was asked")
	return nil, nil
}

// A node that keeps only what it owns does not ask its store for digests of the rest, which is nothing: a store that nobody asks does not
// work digests out.
func TestNothingIsNotDigested(t *testing.T) {
	rep := newTrio(t, 2, shard.Active, shard.Active).nodes[0].rep
	rep.store = unasked{newMemory(), t}
	if leaves, err := rep.leaves(t.Context(), Question{Parts: &shard.Set{}, Mint: minTime, Maxt: noLimit}); err != nil || len(leaves) > 0 {
		t.Errorf("%d leaves, %v", len(leaves), err)
	}
}
