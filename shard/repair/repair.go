package repair

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Repairer keeps the data of one node equal to that of its peers. Run does everything by itself; Round and Step are what it does.
//
// The locks are taken in this order: rounds or steps, deleting, owning, mu.
type Repairer struct {
	store   Store
	members Membership
	peers   Exchange
	fetch   Fetcher
	o       Options
	m       *metrics
	limit   limiter
	wait    func(ctx context.Context, d time.Duration) error
	reads   chan struct{} // holds one element for each window that is read for pieces
	places  places
	queue   *queue
	round   chan struct{} // signals that a round may be due
	step    chan struct{} // signals that a change may go on
	copies  atomic.Int32  // copies from a peer that are under way

	raised raised

	rounds   sync.Mutex   // held during Round
	steps    sync.Mutex   // held during Step; guards raised
	deleting sync.RWMutex // held for reading while samples of a peer are stored, for writing while a delete is applied
	owning   sync.Mutex   // held while the store is told what to keep

	mu      sync.Mutex // guards what follows
	states  map[string]*state
	cache   []cached
	change  change
	offers  map[string]*offer
	dropped shard.Set // what the store need not keep
	hinted  int64     // since when hints for this node are known to wait, ms; 0: none do
	resting int64     // until when there are no rounds, ms
}

// New returns a repairer. It does nothing before Run, but answers.
func New(store Store, members Membership, peers Exchange, fetch Fetcher, o Options) *Repairer {
	o = o.withDefaults()
	r := &Repairer{
		store: store, members: members, peers: peers, fetch: fetch, o: o,
		limit:  limiter{rate: o.Rate},
		wait:   wait,
		reads:  make(chan struct{}, maxReads),
		round:  make(chan struct{}, 1),
		step:   make(chan struct{}, 1),
		states: map[string]*state{},
		offers: map[string]*offer{},
	}
	r.m = newMetrics(o.Registerer, r)
	r.queue = newQueue(r.m)
	return r
}

func (r *Repairer) now() int64 { return r.o.Now().UnixMilli() }

// Run compares and copies until the context ends.
func (r *Repairer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.runRounds(ctx) })
	g.Go(func() error { return r.runSteps(ctx) })
	return g.Wait()
}

// Notify tells that the view has changed. Call it before the node takes writes by the new view, so that nothing is
// dropped of what it gains. It does not wait for anything but the store's Own.
func (r *Repairer) Notify() {
	r.keep()
	signal(r.step)
	signal(r.round)
}

// Delete applies a delete to this node. Samples that were asked of peers before are not stored behind it.
// Options.Deletes must tell of the record when apply returns.
func (r *Repairer) Delete(apply func() error) error {
	r.deleting.Lock()
	defer r.deleting.Unlock()
	defer r.forget()
	return apply()
}

// runRounds compares with one peer after the other, each every Interval.
func (r *Repairer) runRounds(ctx context.Context) error {
	for {
		r.drain(ctx)
		m, pause := r.nextPeer()
		if pause > 0 {
			if err := sleep(ctx, pause, r.round); err != nil {
				return err
			}
			continue
		}
		began := r.now()
		err := r.Round(ctx, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.told(m, err, r.now()-began)
	}
}

// nextPeer returns the peer whose turn it is, or how long it is until then.
func (r *Repairer) nextPeer() (_ shard.Member, pause time.Duration) {
	v, now := r.members.View(), r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	best, due := -1, now+r.o.Interval.Milliseconds()
	for i, m := range v.Members {
		if i == v.Self || v.Self < 0 {
			continue
		}
		s := r.state(m.ID)
		if !m.Up {
			s.away = true
			continue
		}
		if s.away {
			s.away, s.due, s.hot = false, now, hot{}
		}
		if s.due <= due {
			best, due = i, s.due
		}
	}
	if due = max(due, r.resting); best < 0 || due > now {
		return shard.Member{}, time.Duration(max(1, due-now)) * time.Millisecond
	}
	return v.Members[best], 0
}

// copyingPause is how much rarer rounds are while this node copies: both read and count the same windows, and the change is to end.
const copyingPause = 6

// restTimes is how many times as long as a round the rest after it is, where that does not make rounds rarer than Interval: while much is
// written to many partitions, sums differ whenever they are compared, and take long.
const restTimes = 20

// told plans the next round with a peer, after one that took some ms, and logs what is new about it.
func (r *Repairer) told(m shard.Member, err error, took int64) {
	now, text := r.now(), ""
	if err != nil {
		text = err.Error()
	}
	r.mu.Lock()
	s := r.state(m.ID)
	pause := r.o.Interval
	switch {
	case r.copies.Load() > 0:
		pause *= copyingPause
	case s.soon:
		pause /= 4
	}
	s.due = now + int64(float64(pause.Milliseconds())*(0.8+0.4*rand.Float64())) // nodes that start together do not stay in step
	r.resting = now + min(restTimes*took, r.o.Interval.Milliseconds()/int64(max(1, len(r.states))))
	news := text != s.err
	s.err = text
	r.mu.Unlock()
	switch {
	case news && errors.Is(err, errDeletes):
		r.o.Logger.Info("not compared with a peer until both have applied the same deletes", "peer", m.Name)
	case news && err != nil:
		r.o.Logger.Warn("cannot compare with a peer", "peer", m.Name, "err", err)
	case news:
		r.o.Logger.Info("compares with the peer again", "peer", m.Name)
	}
}

// runSteps goes on with the change of the ring.
func (r *Repairer) runSteps(ctx context.Context) error {
	r.keep()
	last := ""
	for {
		err := r.Step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != last && err != nil {
			r.o.Logger.Warn("the change of the ring waits", "err", err)
		}
		last = text
		if err := sleep(ctx, r.o.Interval/5, r.step); err != nil {
			return err
		}
	}
}

// state is what this node knows of a peer. Round owns hot and the memos; mu guards the rest.
type state struct {
	away   bool   // it was down when it was last looked for
	due    int64  // when to compare next, ms
	soon   bool   // there is reason to compare again soon
	err    string // of the last round
	asked  int64  // when it answered last, ms
	epoch  uint64 // as it said then
	hints  bool
	oldest int64
	cold   memo
	still  memo // of the newest windows, when nothing was written
	hot    hot
}

// state returns what is known of a peer. It is called with mu held.
func (r *Repairer) state(id string) *state {
	s := r.states[id]
	if s == nil {
		s = &state{oldest: minTime}
		r.states[id] = s
	}
	return s
}

// hear notes what a peer says with each answer.
func (r *Repairer) hear(id string, a *Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state(id)
	s.asked, s.epoch, s.hints, s.oldest = r.now(), a.Epoch, a.Hints, a.Oldest
}

// memo remembers two sums that differ although this node has taken all that the peer had: the peer has yet to take its part.
type memo struct {
	ours, peers series.Digest
	at          int64 // ms
}

const memoMillis = 10 * 60 * 1000

func (m memo) holds(ours, peers series.Digest, now int64) bool {
	return m.at != 0 && m.ours == ours && m.peers == peers && now >= m.at && now-m.at < memoMillis
}
