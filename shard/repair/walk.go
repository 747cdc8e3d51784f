package repair

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// minTime is before all samples.
const minTime = math.MinInt64

var errDeletes = errors.New("the node and the peer have applied different deletes")

// walk looks for what one peer has and this node lacks, and takes it.
type walk struct {
	r       *Repairer
	m       shard.Member
	self    string // id of this node
	epoch   uint64
	deletes series.Digest // of this node when it began
	copying bool          // all counts: also what is written this moment, and what retention has begun to drop
	settled int64         // samples from here on are left alone, ms
	took    int           // samples that were stored
	partial bool          // something could not be stored
}

func (r *Repairer) walk(v *shard.View, m shard.Member, settled int64) *walk {
	return &walk{r: r, m: m, self: v.Members[v.Self].ID, epoch: v.Ring.Epoch(), deletes: r.o.Deletes(), settled: settled}
}

// ask asks the peer.
func (w *walk) ask(ctx context.Context, q Question) (*Answer, error) {
	q.From, q.Epoch, q.Fresh = w.self, w.epoch, q.Fresh || w.copying
	a, err := w.r.peers.Ask(ctx, w.m, q)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", w.m.Name, err)
	}
	w.r.hear(w.m.ID, a)
	if a.Deletes != w.deletes {
		return nil, fmt.Errorf("compare with node %s: %w", w.m.Name, errDeletes)
	}
	return a, w.current()
}

// both asks the peer and this node.
func (w *walk) both(ctx context.Context, q Question) (ours, peers *Answer, err error) {
	q.Fresh = q.Fresh || w.copying
	if peers, err = w.ask(ctx, q); err != nil {
		return nil, nil, err
	}
	ours, err = w.r.Answer(ctx, q)
	return ours, peers, err
}

// current fails when this node has applied a delete since the walk began.
func (w *walk) current() error {
	if w.r.o.Deletes() != w.deletes {
		return fmt.Errorf("compare with node %s: %w", w.m.Name, errDeletes)
	}
	return nil
}

// mint is where comparing begins: neither node may have begun to drop the window by age. A copy takes
// such a window too.
func (w *walk) mint() int64 {
	w.r.mu.Lock()
	oldest := w.r.state(w.m.ID).oldest
	w.r.mu.Unlock()
	oldest = max(oldest, w.r.o.Oldest())
	switch start := shard.Window(oldest); {
	case oldest < minTime+shard.WindowMillis:
		return minTime
	case w.copying || start == oldest:
		return start
	default:
		return end(start)
	}
}

// root compares everything in one question, by groups of partitions. It says from where on it did.
func (w *walk) root(ctx context.Context, parts *shard.Set, cut int64, shift uint8) (ours, peers *Answer, mint int64, err error) {
	for range 3 { // the peer's first answer says where it begins
		mint = w.mint()
		q := Question{Kind: Sums, Parts: parts, Mint: mint, Cut: max(cut, mint), Maxt: noLimit, Shift: shift}
		if ours, peers, err = w.both(ctx, q); err != nil || w.mint() <= mint {
			break
		}
	}
	return ours, peers, mint, err
}

// lack is the partitions of which, in one window, the peer has something that this node has not.
type lack struct {
	whole shard.Set // this node has nothing
	some  shard.Set // both have something, and not the same
}

// find returns what the peer has in the windows that start in [mint, maxt), by window. Sums by group and partition come
// first when there are so many leaves that they pay.
func (w *walk) find(ctx context.Context, parts *shard.Set, mint, maxt int64, shifts ...uint8) (map[int64]*lack, error) {
	for _, shift := range shifts {
		q := Question{Kind: Sums, Parts: parts, Mint: mint, Cut: maxt, Maxt: maxt, Shift: shift}
		ours, peers, err := w.both(ctx, q)
		if err != nil {
			return nil, err
		}
		parts = narrow(parts, shift, differing(ours.Cold, peers.Cold))
	}
	lacks := map[int64]*lack{}
	for parts.Len() > 0 {
		q := Question{Kind: Leaves, Parts: parts, Mint: mint, Cut: mint, Maxt: maxt}
		peers, err := w.ask(ctx, q)
		if err != nil {
			return nil, err
		}
		covered, rest := divide(parts, peers.Upto)
		if covered.Len() == 0 {
			return nil, fmt.Errorf("ask node %s: its answer is about nothing", w.m.Name)
		}
		q.Parts = covered
		ours, err := w.r.leaves(ctx, q)
		if err != nil {
			return nil, err
		}
		compare(lacks, ours, peers.Leaves)
		parts = rest
	}
	return lacks, nil
}

// narrow returns the partitions that are in some of these groups.
func narrow(parts *shard.Set, shift uint8, groups []uint16) *shard.Set {
	out := &shard.Set{}
	for p := range parts.Partitions() {
		for len(groups) > 0 && groups[0] < p>>shift {
			groups = groups[1:]
		}
		if len(groups) > 0 && groups[0] == p>>shift {
			out.Add(p)
		}
	}
	return out
}

// divide splits a set at a partition.
func divide(parts *shard.Set, at int) (below, rest *shard.Set) {
	below, rest = &shard.Set{}, &shard.Set{}
	for p := range parts.Partitions() {
		if int(p) < at {
			below.Add(p)
		} else {
			rest.Add(p)
		}
	}
	return below, rest
}

// compare adds to lacks where the peer has something else.
func compare(lacks map[int64]*lack, ours, peers []shard.Leaf) {
	for _, p := range peers {
		for len(ours) > 0 && ours[0].Compare(p) < 0 {
			ours = ours[1:]
		}
		same := len(ours) > 0 && ours[0].Compare(p) == 0
		if same && ours[0].Digest == p.Digest {
			continue
		}
		l := lacks[p.Window]
		if l == nil {
			l = &lack{}
			lacks[p.Window] = l
		}
		if same {
			l.some.Add(p.Partition)
		} else {
			l.whole.Add(p.Partition)
		}
	}
}
