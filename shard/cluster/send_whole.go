package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/peer"
)

// delivery is a body and the parcels in it.
type delivery struct {
	body    *body
	parcels []int32

	// The shipment's mutex guards these.
	open  int   // nodes that have not answered yet
	rest  *body // what body has as a brief, as messages that are not compressed: made before the batch goes, if somebody may need it. nil before
	whole *body // the same as body without a brief, when somebody has needed it; body itself when that has none
}

// begin counts a node that gets the delivery.
func (d *delivery) begin() {
	d.body.hold()
	d.open++
}

// done counts one that has got it, or will not. What the delivery has made for others goes with the last one.
func (d *delivery) done() {
	d.body.release()
	if d.open--; d.open > 0 {
		return
	}
	if d.rest != nil {
		d.rest.release()
	}
	if d.whole != nil && d.whole != d.body {
		d.whole.release()
	}
	d.rest, d.whole = nil, nil
}

// wholeOf returns a delivery's body without a brief, for a node that does not know the series, or that gets it who knows when. The caller
// holds the shipment's mutex, and releases the body.
func (sh *shipment) wholeOf(d *delivery) *body {
	switch {
	case d.whole != nil:
	case d.body.brief == 0:
		d.whole = d.body
	default:
		if d.rest == nil {
			d.rest = sh.s.unbrief(sh.batch, d.parcels)
		}
		d.whole = joinRest(d.body, d.rest)
	}
	d.whole.hold()
	return d.whole
}

// end gives the batch back to the caller. Who is not done yet finds that nobody waits, and may still need what it was sent by ids with labels:
// almost nobody does, so that the batch is kept for that if it can be.
func (sh *shipment) end() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.ended = true; !sh.over { // a panic, or an error before anything was sent
		sh.decide(errors.New("given up"))
	}
	if sh.batch.Keep != nil && slices.ContainsFunc(sh.flying, (*delivery).mayUnbrief) {
		sh.release = sh.batch.Keep()
	}
	if sh.release == nil {
		for _, d := range sh.flying {
			if d.mayUnbrief() {
				d.rest = sh.s.unbrief(sh.batch, d.parcels)
			}
		}
	}
	sh.free()
}

// mayUnbrief says whether somebody may want the series of the delivery's brief with labels, of which there are none yet.
func (d *delivery) mayUnbrief() bool { return d.open > 0 && d.whole == nil && d.rest == nil }

// free lets go of the batch and the split when nobody needs them any more. The caller holds the shipment's mutex.
func (sh *shipment) free() {
	if !sh.ended || sh.s == nil || slices.ContainsFunc(sh.flying, (*delivery).mayUnbrief) {
		return
	}
	sh.s.release()
	if sh.release != nil {
		sh.release()
	}
	sh.s, sh.batch, sh.flying = nil, nil, nil
}

// unbrief encodes what is in the briefs of some parcels, with keys.
func (s *split) unbrief(b *series.Batch, parcels []int32) *body {
	r := bodies.Get().(*body)
	r.hold()
	r.b, r.fresh.of = r.b[:0], s.routes
	for _, j := range parcels {
		p := &s.parcels[j]
		for _, i := range s.briefs[p.bfirst:p.bend] {
			e := &b.Series[i]
			r.b = appendSeries(r.b, s.keys[i], b.Samples[e.First:e.First+e.Count], nil)
		}
		r.series += p.bend - p.bfirst
		r.fresh.add(p.route, s.briefs[p.bfirst:p.bend], s.ids)
	}
	return r
}

// joinRest makes of a body and what its brief stands for one without a brief: first the series of the request, then the others.
func joinRest(b, rest *body) *body {
	w := bodies.Get().(*body)
	w.hold()
	plain, request := elements(b.b[b.brief:])
	w.b = binary.AppendUvarint(w.b[:0], plain+uint64(len(rest.b)))
	w.b = append(w.b, request...)
	at := len(w.b)
	w.b = appendSnappy(w.b, rest.b)
	_, others := elements(w.b[at:])
	w.b = append(w.b[:at], others...)
	w.samples, w.series, w.weight = b.samples, b.series+rest.series, len(w.b)
	w.fresh.join(&b.fresh)
	w.fresh.join(&rest.fresh)
	return w
}

// briefError is the error of a write, perhaps with a brief. A node that cannot read it does not know the series, or does not know briefs.
func briefError(err error, brief int) error {
	var se *peer.StatusError
	if errors.As(err, &se) && (se.Code == http.StatusPreconditionFailed || brief > 0 && se.Code == http.StatusBadRequest) {
		return fmt.Errorf("%w: %w", series.ErrUnknownSeries, err)
	}
	return err
}

// busy says whether so much is on its way to a node that what is sent there must take little memory, and not little time.
func (l *lane) busy() bool { return l.queued.Load() > l.w.o.MaxQueued/4 }
