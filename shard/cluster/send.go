package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// shipment is one batch on its way to the nodes of one view.
type shipment struct {
	w       *Writer
	v       *shard.View
	c       Consistency
	written origin
	restart bool // errMoved is wanted
	began   time.Time

	mu       sync.Mutex // guards the fields below, and the parcels
	s        *split     // nil when it is another batch's
	batch    *series.Batch
	ended    bool        // nobody waits any more
	release  func()      // gives back the batch, which is kept
	flying   []*delivery // those with briefs
	open     int         // parcels that are not decided
	stale    bool        // a node knows another ring
	rejects  map[int32]*rejects
	failures map[int]error // of nodes, the first of each
	missed   []missed      // what nodes have missed so far
	over     bool          // it is decided
	err      error         // how
	decided  chan struct{} // closed when it is
}

// rejects is who did not store a series that it was sent, and why.
type rejects struct {
	by             nodes
	reason, detail string
}

// missed is a delivery that a node did not get. It holds the body.
type missed struct {
	lane *lane
	body *body
}

// ship sends a batch to the nodes of a view, and waits until enough of them have stored it. With restart the error is errMoved when
// another view is, or may soon be, a better one.
func (w *Writer) ship(ctx context.Context, v *shard.View, b *series.Batch, written origin, restart bool) error {
	b.RejectLarge() // no node says that it left out a histogram alone
	rs := w.routesOf(v.Ring)
	s := splits.Get().(*split)
	sh := &shipment{w: w, v: v, c: w.Consistency(), written: written, restart: restart, began: time.Now(), s: s, batch: b, failures: map[int]error{}, decided: make(chan struct{})}
	defer sh.end()
	s.place(b, rs, w.o.DeviceLabel, w.o.Limits)
	if err := s.encode(b, rs, sh.briefly); err != nil {
		return err
	}
	s.address(len(v.Members), v.Self)
	if err := sh.begin(); err != nil {
		return err
	}
	sh.send()
	if err := sh.keep(ctx, s.ownBatch(b, rs, v.Self)); err != nil {
		return err
	}
	select {
	case <-sh.decided:
	case <-ctx.Done():
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if !sh.over {
			sh.decide(ctx.Err())
		}
		return sh.err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.err == nil {
		sh.reject(b)
	}
	return sh.err
}

// routesOf returns the routes of a ring, which are made once.
func (w *Writer) routesOf(r *shard.Ring) *routes {
	rs := w.routes.Load()
	if rs == nil || rs.ring != r {
		rs = newRoutes(r)
		w.routes.Store(rs)
	}
	return rs
}

// begin counts on those who are up. An error means that they are too few; nothing has been sent.
func (sh *shipment) begin() error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for j := range sh.s.parcels {
		if sh.s.parcels[j].route != nil {
			sh.open++
		}
	}
	for n, list := range sh.s.byNode {
		if len(list) > 0 && !sh.v.Members[n].Up {
			sh.mark(n, list, errDown)
		}
	}
	for j := range sh.s.parcels { // also those of which nobody is down, and nobody is there
		sh.judge(&sh.s.parcels[j])
	}
	if sh.open == 0 && !sh.over {
		sh.decide(nil)
	}
	return sh.err
}

var errDown = errors.New("down")

// send starts to send what other nodes get.
func (sh *shipment) send() {
	byNode, all := sh.s.pack()
	for n, ds := range byNode {
		if len(ds) == 0 {
			continue
		}
		m := sh.v.Members[n]
		l := sh.w.lane(m)
		for _, d := range ds {
			b := sh.start(d, l.busy())
			switch {
			case !m.Up:
				sh.miss(l, n, d, errDown)
			case !l.take(b.weight):
				sh.miss(l, n, d, errQueue)
			default:
				sh.w.sends.Go(func() { sh.deliver(l, n, m, d, b) })
				continue
			}
			b.release()
		}
	}
	for _, b := range all {
		b.release()
	}
}

// start counts a node that gets a delivery, and returns the body to send, which the caller releases.
func (sh *shipment) start(d *delivery, whole bool) *body {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if d.begin(); d.open == 1 && d.body.brief > 0 {
		sh.flying = append(sh.flying, d)
	}
	if whole {
		return sh.wholeOf(d)
	}
	d.body.hold()
	return d.body
}

// deliver sends a body to a node and notes what comes of it.
func (sh *shipment) deliver(l *lane, n int, m shard.Member, d *delivery, b *body) {
	until := time.Now().Add(sh.w.o.PeerTimeout)
	rejected, err := l.post(m, b, sh.written, false, until)
	l.give(b.weight)
	if errors.Is(err, series.ErrUnknownSeries) {
		b.spoiled.Store(true) // the connection may not have let go of it
		b.release()
		sh.mu.Lock()
		b = sh.wholeOf(d)
		sh.mu.Unlock()
		rejected, err = l.post(m, b, sh.written, true, until)
	}
	defer b.release()
	if err != nil {
		b.spoiled.Store(true)
		sh.miss(l, n, d, err)
		return
	}
	l.samples.Add(float64(b.samples))
	l.bytes.Add(float64(len(b.b)))
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if d.done(); sh.ended {
		sh.free()
		return
	}
	sh.ack(n, d.parcels, rejected)
}

// miss notes that a node did not store a body, which the node gets later if the batch is acknowledged without it.
func (sh *shipment) miss(l *lane, n int, d *delivery, err error) {
	l.failed(err)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	defer sh.free()
	defer d.done()
	sh.missed = append(sh.missed, missed{l, sh.wholeOf(d)})
	if !sh.ended {
		sh.stale = sh.stale || isMoved(err)
		if sh.stale && sh.restart && !sh.over && sh.w.members.View().Ring.Epoch() != sh.v.Ring.Epoch() {
			sh.decide(errMoved)
		}
		sh.fail(n, d.parcels, err)
	}
	if sh.over {
		sh.hint()
	}
}

// keep stores what this node is to store, and waits for it even when enough others are done: the memory is the caller's. The error
// is that of a batch which nobody else can answer for.
func (sh *shipment) keep(ctx context.Context, own *series.Batch) error {
	if own == nil || sh.failed() {
		return nil
	}
	err := sh.storeOwn(ctx, own)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if errors.Is(err, errOvertaken) {
		if !sh.over {
			sh.decide(err)
		}
		return err
	}
	var parcels []int32
	for j := range sh.s.parcels {
		if p := &sh.s.parcels[j]; p.route != nil && p.route.has(sh.v.Self) {
			parcels = append(parcels, int32(j))
		}
	}
	if err == nil {
		rejected := rejectedIn(own, sh.w.o.Limits)
		for i := range rejected {
			rejected[i].Series = int(sh.s.localOf[rejected[i].Series])
		}
		sh.note(sh.v.Self, parcels, rejected)
		return nil
	}
	if len(sh.s.order) == 0 { // it is all metadata
		return err
	}
	sh.w.lane(sh.v.Members[sh.v.Self]).failed(err)
	sh.fail(sh.v.Self, parcels, err)
	return nil
}

// failed says whether the batch cannot be acknowledged any more.
func (sh *shipment) failed() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.over && sh.err != nil
}

// reject marks in the caller's batch what too few nodes would store.
func (sh *shipment) reject(b *series.Batch) {
	var all []int32
	for i, r := range sh.rejects {
		if r.reason != "" && sh.refused(i) {
			all = append(all, i)
		}
	}
	slices.Sort(all)
	for _, i := range all {
		r := sh.rejects[i]
		b.Reject(int(i), r.reason, fmt.Errorf("series %d: %s", b.Number(int(i)), r.detail))
	}
}

// unavailable is the error of a batch of which too few nodes can store a parcel.
func (sh *shipment) unavailable(p *parcel) error {
	if len(p.route.writers) == 0 {
		return fmt.Errorf("%w: no node owns the series: this one is in no cluster yet, or all are still joining", series.ErrUnavailable)
	}
	var missing []string
	for n, err := range sh.failures {
		if p.failed.has(n) {
			missing = append(missing, fmt.Sprintf("%s (%v)", nameOf(sh.v, n), err))
		}
	}
	slices.Sort(missing)
	return fmt.Errorf("%w: %d of %d replicas can store the series, too few for consistency %v; missing: %s", series.ErrUnavailable,
		len(p.route.writers)-len(missing), len(p.route.writers), sh.c, strings.Join(missing, ", "))
}
