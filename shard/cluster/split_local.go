package cluster

import (
	"context"

	"github.com/minitrue/minitrue/chunk/series"
)

// ownBatch makes the batch that this node stores. It has its own series, so that what this node rejects is not yet
// rejected by all, and shares the rest with b as far as it can. nil: there is nothing to store.
func (s *split) ownBatch(b *series.Batch, rs *routes, self int) *series.Batch {
	l := &s.local
	l.Series, l.Samples, l.Histograms, l.Exemplars, l.Metadata = l.Series[:0], b.Samples, l.Histograms[:0], l.Exemplars[:0], b.Metadata
	l.Rejected, l.IDs = series.Rejected{}, l.IDs[:0]
	s.localOf = s.localOf[:0]
	h, x := 0, 0
	for i, r := range s.route {
		if r == none || !rs.all[r].has(self) {
			continue
		}
		e := b.Series[i]
		e.Key = s.keys[i]
		at := len(l.Series)
		l.Series, l.IDs = append(l.Series, e), append(l.IDs, s.ids[i])
		s.localOf = append(s.localOf, int32(i))
		for ; h < len(b.Histograms) && b.Histograms[h].Series <= i; h++ {
			if hh := b.Histograms[h]; hh.Series == i {
				hh.Series = at
				l.Histograms = append(l.Histograms, hh)
			}
		}
		for ; x < len(b.Exemplars) && b.Exemplars[x].Series <= i; x++ {
			if xx := b.Exemplars[x]; xx.Series == i {
				xx.Series = at
				l.Exemplars = append(l.Exemplars, xx)
			}
		}
	}
	if len(l.Series)+len(l.Metadata) == 0 {
		return nil
	}
	return l
}

// has says whether a node is one of the route's writers.
func (r *route) has(n int) bool { return n >= 0 && (r.owners.has(n) || r.next.has(n)) }

// storeOwn stores what this node is to store, unless a delete has been applied here since it was written: other nodes leave out what that took, so that it
// would be here alone. What was written before comes without that already.
func (sh *shipment) storeOwn(ctx context.Context, own *series.Batch) error {
	store := func() error { return sh.w.local.Append(ctx, own) }
	if sh.written.before {
		return store()
	}
	done, err := sh.w.o.Live(ctx, sh.written.at, store)
	if err == nil && !done {
		return errOvertaken
	}
	return err
}
