package contest

import (
	"context"
	"errors"
	"fmt"
)

// coordinatorCost writes the same to a lone node and to clusters of three and five with three copies, always through the first node: what
// a copy costs all nodes together.
func coordinatorCost(ctx context.Context, t *trial) error {
	alone := 0.0
	for _, size := range []int{1, 3, 5} {
		copies := min(size, 3)
		perCopy, err := t.costOf(ctx, size, copies)
		if err != nil {
			return err
		}
		f := Figure{ID: fmt.Sprintf("cost.%d", size), Name: fmt.Sprintf("CPU of all nodes a million stored copies, %s of each sample", counted(copies, "copy", "copies")), Unit: Seconds}
		f.Name = fmt.Sprintf("%s: %s", counted(size, "node", "nodes"), f.Name)
		t.record(f, perCopy)
		if size == 1 {
			alone = perCopy
			continue
		}
		t.record(Figure{ID: f.ID + ".ratio", Name: fmt.Sprintf("%d nodes: that, beside a lone node's", size), Unit: Times, Goal: AtMost(1.6)}, perCopy/alone)
	}
	return nil
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// costOf is the seconds of CPU that a cluster takes for a million stored copies.
func (t *trial) costOf(ctx context.Context, size, copies int) (float64, error) {
	if err := t.begin(ctx, size, fmt.Sprintf("--replication-factor=%d", copies)); err != nil {
		return 0, err
	}
	s, batches, err := t.whole()
	if err != nil {
		return 0, err
	}
	before, err := t.cpu()
	if err != nil {
		return 0, err
	}
	r, err := t.write(ctx, batches, s.Samples/2, 1) // half of it: new series are a part of the cost, as they are of life
	if err != nil {
		return 0, err
	}
	after, err := t.cpu()
	if err != nil {
		return 0, err
	}
	if after == before {
		return 0, errors.New("the load is too small: it took no processor time that could be seen")
	}
	perCopy := (after - before).Seconds() / float64(r.Samples*int64(copies)) * 1e6
	t.logf("%d nodes: %.3f s of CPU a million copies, %.0f samples a second", size, perCopy, r.SamplesPerSecond)
	return perCopy, t.end()
}
