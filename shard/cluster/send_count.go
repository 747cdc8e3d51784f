package cluster

import (
	"fmt"

	"github.com/minitrue/minitrue/chunk/series"
)

// This file counts who has stored what. The caller of each function holds the shipment's mutex.

// fail notes that a node will not store parcels, and what follows from that.
func (sh *shipment) fail(n int, parcels []int32, err error) {
	sh.mark(n, parcels, err)
	for _, j := range parcels {
		sh.judge(&sh.s.parcels[j])
	}
}

// mark notes that a node will not store parcels.
func (sh *shipment) mark(n int, parcels []int32, err error) {
	if sh.failures[n] == nil {
		sh.failures[n] = err
	}
	for _, j := range parcels {
		sh.s.parcels[j].failed.add(n)
	}
}

// ack notes that a node has stored parcels, but for some series, which are numbered as they lie in the body: the pieces of all parcels, and
// then, if it has no brief, what that would be.
func (sh *shipment) ack(n int, parcels []int32, rejected []rejectedSeries) {
	for i := range rejected {
		rejected[i].Series = int(sh.s.nth(parcels, rejected[i].Series))
	}
	sh.note(n, parcels, rejected)
}

// nth returns the series with a number in a body of some parcels.
func (s *split) nth(parcels []int32, at int) int32 {
	for _, j := range parcels {
		p := &s.parcels[j]
		if at < p.end-p.first {
			return s.pieces[p.first+at]
		}
		at -= p.end - p.first
	}
	for _, j := range parcels {
		p := &s.parcels[j]
		if at < p.bend-p.bfirst {
			return s.briefs[p.bfirst+at]
		}
		at -= p.bend - p.bfirst
	}
	panic("cluster: a node rejects a series that it was not sent") // writeAnswer.check has seen to that
}

// note notes that a node has stored parcels, but for some series of the batch.
func (sh *shipment) note(n int, parcels []int32, rejected []rejectedSeries) {
	for _, r := range rejected {
		i := int32(r.Series)
		x := sh.rejects[i]
		if x == nil {
			if x = (&rejects{reason: r.Reason, detail: r.Detail}); sh.rejects == nil {
				sh.rejects = map[int32]*rejects{}
			}
			sh.rejects[i] = x
		}
		x.by.add(n)
	}
	for _, j := range parcels {
		p := &sh.s.parcels[j]
		p.acked.add(n)
		if len(sh.rejects) > 0 {
			p.rejected = p.rejected[:0]
			for _, list := range [][]int32{sh.s.pieces[p.first:p.end], sh.s.briefs[p.bfirst:p.bend]} {
				for _, i := range list {
					if sh.rejects[i] != nil {
						p.rejected = append(p.rejected, i)
					}
				}
			}
		}
		sh.judge(p)
	}
}

// judge decides a parcel, and with it perhaps the batch, when it can be decided.
func (sh *shipment) judge(p *parcel) {
	if p.route == nil || p.done || sh.over {
		return
	}
	switch sh.verdict(p) {
	case verdictYes:
		p.done = true
		if sh.open--; sh.open == 0 {
			sh.decide(sh.late())
		}
	case verdictNo:
		if sh.stale && sh.restart {
			sh.decide(errMoved)
			return
		}
		sh.decide(sh.unavailable(p))
	}
}

// late says why a batch that enough nodes have stored is not to be acknowledged all the same: this node's own disk knows no limit of time.
func (sh *shipment) late() error {
	switch {
	case !sh.w.late(sh.v, sh.began):
		return nil
	case sh.restart:
		return errMoved
	}
	return fmt.Errorf("%w: the ring has changed while the series were being stored", series.ErrUnavailable)
}

// verdict is what is known of the fate of a parcel.
type verdict int

const (
	verdictOpen verdict = iota // others may still decide it
	verdictYes
	verdictNo
)

// verdict says whether enough nodes have answered for a parcel, and whether they have decided each of its series.
func (sh *shipment) verdict(p *parcel) verdict {
	all := verdictYes
	for _, list := range []*nodes{&p.route.owners, &p.route.next} {
		n := list.common(list)
		need := sh.c.Acks(n)
		switch {
		case n-p.failed.common(list) < need:
			return verdictNo
		case p.acked.common(list) < need:
			all = verdictOpen
		}
	}
	if all == verdictYes {
		for _, i := range p.rejected {
			if stored, possible := sh.series(p, i); !stored && possible {
				return verdictOpen
			}
		}
	}
	return all
}

// series says of a series that some nodes have rejected whether enough others have stored it, and whether they may still do so.
func (sh *shipment) series(p *parcel, i int32) (stored, possible bool) {
	stored, possible = true, true
	r := sh.rejects[i]
	acked := p.acked.minus(&r.by)
	for _, list := range []*nodes{&p.route.owners, &p.route.next} {
		n := list.common(list)
		need := sh.c.Acks(n)
		stored = stored && acked.common(list) >= need
		lost := p.failed.minus(&r.by)
		possible = possible && n-lost.common(list)-r.by.common(list) >= need
	}
	return stored, possible
}

// refused says whether too few nodes have stored a series that some have rejected.
func (sh *shipment) refused(i int32) bool {
	for j := range sh.s.parcels {
		p := &sh.s.parcels[j]
		for _, x := range p.rejected {
			if stored, _ := sh.series(p, i); x == i && !stored {
				return true
			}
		}
	}
	return false
}

// decide ends the waiting. Who missed a batch that is acknowledged gets hints, and nobody of another: its sender tries again.
func (sh *shipment) decide(err error) {
	sh.over, sh.err = true, err
	close(sh.decided)
	sh.hint()
}

// hint gives the nodes that missed the batch what they missed, if it is acknowledged.
func (sh *shipment) hint() {
	list := sh.missed
	sh.missed = nil
	if len(list) == 0 {
		return
	}
	if sh.err != nil {
		for _, x := range list {
			x.body.release()
		}
		return
	}
	for _, x := range list {
		x.lane.hint(x.body, sh.written.at)
	}
}
