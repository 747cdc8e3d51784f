package repair

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// take takes what this node lacks, the newest first: it is what queries ask for.
func (w *walk) take(ctx context.Context, lacks map[int64]*lack) error {
	windows := slices.Sorted(maps.Keys(lacks))
	slices.Reverse(windows)
	for _, window := range windows {
		if err := w.takeWindow(ctx, window, lacks[window]); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) takeWindow(ctx context.Context, window int64, l *lack) error {
	maxt := end(window)
	if w.settled < maxt {
		maxt = window + (w.settled-window)/pieceMillis*pieceMillis
	}
	if maxt <= window {
		return nil
	}
	w.r.m.differences.Add(float64(l.whole.Len() + l.some.Len()))
	whole := []run{{mint: window, maxt: maxt}}
	for _, parts := range slabs(&l.whole) {
		if err := w.fetch(ctx, parts, nil, whole); err != nil {
			return err
		}
	}
	if l.some.Len() == 0 {
		return nil
	}
	q := Question{Kind: Pieces, Parts: &l.some, Mint: window, Cut: window, Maxt: maxt}
	ours, peers, err := w.both(ctx, q)
	if err != nil {
		return err
	}
	rs := runs(q, ours.Pieces, peers.Pieces)
	if len(rs) == 0 {
		return nil // the difference was a write on its way, or this node has more
	}
	mostly := mostlyMissing(rs)
	for _, parts := range slabs(&l.some) {
		var ids []series.ID
		if !mostly {
			var differ bool
			if ids, differ, err = w.seriesOf(ctx, window, parts); err != nil {
				return err
			}
			if !differ {
				continue
			}
		}
		if err := w.fetch(ctx, parts, ids, rs); err != nil {
			return err
		}
	}
	return nil
}

// mostlyMissing says whether so much is missing that asking which series differ costs more than it saves: a series' digest is as long as
// several samples.
func mostlyMissing(rs []run) bool {
	var ours, peers uint64
	for _, r := range rs {
		ours += r.ours
		peers += r.peers
	}
	return ours <= peers/3
}

// seriesOf returns the series of a window of which the peer has something else; nil when that is most of them.
func (w *walk) seriesOf(ctx context.Context, window int64, parts *shard.Set) (ids []series.ID, differ bool, err error) {
	q := Question{Kind: Series, Parts: parts, Mint: window, Cut: window, Maxt: window}
	ours, err := w.r.series(ctx, q)
	if err != nil {
		return nil, false, err
	}
	all := 0
	for {
		peers, err := w.ask(ctx, q)
		if err != nil {
			return nil, false, err
		}
		all += len(peers.Series)
		for _, p := range peers.Series {
			for len(ours) > 0 && ours[0].ID.Compare(p.ID) < 0 {
				ours = ours[1:]
			}
			if len(ours) == 0 || ours[0] != p {
				ids = append(ids, p.ID)
			}
		}
		if !peers.More {
			break
		}
		q.After = peers.Series[len(peers.Series)-1].ID
	}
	if len(ids) > all/4*3 {
		return nil, len(ids) > 0, nil
	}
	return ids, len(ids) > 0, nil
}

const (
	slabSize = 64   // partitions in a request
	maxIDs   = 4096 // series in a request
)

// slabs splits a set for requests.
func slabs(parts *shard.Set) (out []*shard.Set) {
	n := 0
	for p := range parts.Partitions() {
		if n%slabSize == 0 {
			out = append(out, &shard.Set{})
		}
		out[len(out)-1].Add(p)
		n++
	}
	return out
}

// fetch takes samples of the peer and stores them.
func (w *walk) fetch(ctx context.Context, parts *shard.Set, ids []series.ID, rs []run) error {
	for _, run := range rs {
		for rest := ids; ; {
			some := rest[:min(len(rest), maxIDs)]
			rest = rest[len(some):]
			if len(some) == 0 {
				some = nil // all
			}
			err := w.r.fetch.Fetch(ctx, w.m, parts, some, run.mint, run.maxt-1, func(b *series.Batch) error { return w.store(ctx, b) })
			if err != nil {
				return fmt.Errorf("fetch from node %s: %w", w.m.Name, err)
			}
			if len(rest) == 0 {
				break
			}
		}
	}
	return nil
}

// store appends what a peer sent, unless a delete came between.
func (w *walk) store(ctx context.Context, b *series.Batch) error {
	r := w.r
	_, bytes := weigh(b)
	if err := w.append(ctx, b); err != nil {
		return err
	}
	samples, _ := weigh(b) // without what was here
	if samples > 0 {
		r.forget()
	}
	refused := b.Rejected.Samples + b.Rejected.Histograms
	if refused > 0 {
		if !w.partial {
			r.o.Logger.Warn("a peer has samples that cannot be stored here", "peer", w.m.Name, "err", b.Rejected.Errs[0])
		}
		w.partial = true
		r.m.rejected.Add(float64(refused))
	}
	w.took += samples - refused
	r.m.samples.Add(float64(samples - refused))
	r.m.bytes.Add(float64(bytes))
	if w.copying {
		r.copied(samples-refused, bytes)
	}
	if d := r.limit.take(r.o.Now(), bytes); d > 0 {
		return r.wait(ctx, d)
	}
	return nil
}

func (w *walk) append(ctx context.Context, b *series.Batch) error {
	w.r.deleting.RLock()
	defer w.r.deleting.RUnlock()
	if err := w.current(); err != nil {
		return err
	}
	return w.r.store.AppendMissing(ctx, b)
}
