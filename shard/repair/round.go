package repair

import (
	"context"
	"errors"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Round compares this node with one peer, and takes what the peer has and it lacks. The newest windows are looked into
// as far as the package's text says, so under load it can take several rounds until nothing is missing.
func (r *Repairer) Round(ctx context.Context, m shard.Member) error {
	r.rounds.Lock()
	defer r.rounds.Unlock()
	v := r.members.View()
	parts := r.shared(v, m.ID)
	if parts.Len() == 0 {
		return nil
	}
	outcome, err := r.compare(ctx, v, m, parts)
	switch {
	case errors.Is(err, errDeletes):
		outcome = "deletes"
	case err != nil:
		outcome = "failed"
	}
	r.m.rounds.WithLabelValues(outcome).Inc()
	return err
}

// shared are the partitions that this node and a peer own. What one of them is still copying is not among them.
func (r *Repairer) shared(v *shard.View, id string) *shard.Set {
	i := v.Ring.Index(id)
	if v.Self < 0 || i < 0 || i == v.Self {
		return &shard.Set{}
	}
	parts := r.places.get(v.Ring, owned, v.Self)
	parts.Intersect(r.places.get(v.Ring, owned, i))
	return parts
}

func (r *Repairer) compare(ctx context.Context, v *shard.View, m shard.Member, parts *shard.Set) (outcome string, err error) {
	now := r.now()
	settled := now - r.o.Settle.Milliseconds()
	w := r.walk(v, m, settled)
	cut := shard.Window(settled)
	ours, peers, mint, err := w.root(ctx, parts, cut, rootShift)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	s := r.state(m.ID)
	r.mu.Unlock()
	oldOurs, oldPeers, ourNew, peerNew := only(ours.Cold), only(peers.Cold), only(ours.Hot), only(peers.Hot)
	oldDiffers := oldOurs != oldPeers && !s.cold.holds(oldOurs, oldPeers, now)
	newDiffers := ourNew != peerNew && !s.still.holds(ourNew, peerNew, now)
	r.haste(s, newDiffers)
	if ourNew == peerNew {
		s.hot = hot{}
	}
	if !oldDiffers && !newDiffers {
		return "equal", nil
	}
	if r.awaitHints(ctx, v) {
		r.haste(s, true)
		return "hints", nil
	}
	if oldDiffers {
		if err := w.repair(ctx, parts, mint, max(cut, mint), groupShift, 0); err != nil {
			return "", err
		}
		if err := r.remember(ctx, &s.cold, oldPeers, parts, mint, max(cut, mint)); err != nil {
			return "", err
		}
	}
	if newDiffers {
		if err := r.compareHot(ctx, w, s, parts, max(cut, mint), ourNew, peerNew); err != nil {
			return "", err
		}
	}
	return "compared", nil
}

// only is the one sum of a question about all partitions.
func only(sums []Sum) series.Digest {
	if len(sums) == 0 {
		return series.Digest{}
	}
	return sums[0].Digest
}

func (r *Repairer) haste(s *state, soon bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.soon = soon
}

// repair finds and takes what the peer has in the windows that start in [mint, maxt).
func (w *walk) repair(ctx context.Context, parts *shard.Set, mint, maxt int64, shifts ...uint8) error {
	lacks, err := w.find(ctx, parts, mint, maxt, shifts...)
	if err != nil {
		return err
	}
	return w.take(ctx, lacks)
}

// remember keeps in a memo that this node has all that the peer had when its sum was peers.
func (r *Repairer) remember(ctx context.Context, m *memo, peers series.Digest, parts *shard.Set, mint, maxt int64) error {
	sums, err := r.byPartition(ctx, parts, mint, maxt)
	if err != nil {
		return err
	}
	*m = memo{only(group(sums, Question{Parts: parts, Shift: rootShift})), peers, r.now()}
	return nil
}

// hot is what is known of the newest windows that a peer and this node compare.
type hot struct {
	ours, peers series.Digest // the last sums
	rounds      int           // that the streak lasts
	since       int64         // when it began, ms
	streak      shard.Set     // the partitions that differed in each of them
	quiet       shard.Set     // those of which a look has shown that they differ only by writes on their way
	until       int64         // to when that is believed, ms
	pause       time.Duration // how long the next time
	looked      int64         // when the last look was, ms
}

const maxPause = 10 * time.Minute

// compareHot looks into the newest windows: into all that differs when nothing was written since the last comparison, else
// into partitions that differ again and again.
func (r *Repairer) compareHot(ctx context.Context, w *walk, s *state, parts *shard.Set, cut int64, ours, peers series.Digest) error {
	h := &s.hot
	still := h.ours == ours && h.peers == peers
	h.ours, h.peers = ours, peers
	lacks, err := w.find(ctx, parts, cut, noLimit, groupShift)
	if err != nil {
		return err
	}
	if still {
		w.settled = noLimit
		if err := w.take(ctx, lacks); err != nil {
			return err
		}
		return r.remember(ctx, &s.still, peers, parts, cut, noLimit)
	}
	look := h.next(lacks, r.now(), r.o.Settle, r.o.Grace)
	if look == nil {
		return nil
	}
	for _, l := range lacks {
		l.whole.Intersect(look)
		l.some.Intersect(look)
	}
	before := w.took
	if err := w.take(ctx, lacks); err != nil {
		return err
	}
	h.judge(look, w.took > before, r.now(), r.o.Settle)
	return nil
}

// next goes on with the streak, and returns the partitions to look into now; nil when there are none.
func (h *hot) next(lacks map[int64]*lack, now int64, settle, grace time.Duration) *shard.Set {
	differ := shard.Set{}
	for _, l := range lacks {
		differ.Union(&l.whole)
		differ.Union(&l.some)
	}
	if h.rounds == 0 {
		h.streak, h.since = differ, now
	}
	h.streak.Intersect(&differ)
	h.rounds++
	if h.rounds < 2 || now-h.since < grace.Milliseconds() || now-h.looked < settle.Milliseconds()/2 { // a write is under way for less than that
		return nil
	}
	h.rounds = 0
	look := h.streak
	if now < h.until {
		look.Minus(&h.quiet)
	}
	if look.Len() == 0 {
		return nil
	}
	h.looked = now
	return &look
}

// judge notes whether there was something to take. Partitions in which there was not are left alone for a while, each time for longer:
// the look costs reading the window.
func (h *hot) judge(look *shard.Set, took bool, now int64, settle time.Duration) {
	if took {
		h.quiet, h.pause = shard.Set{}, 0
		return
	}
	if now >= h.until {
		h.quiet = shard.Set{}
	}
	h.quiet.Union(look)
	h.pause = min(max(2*h.pause, settle), maxPause)
	h.until = now + h.pause.Milliseconds()
}

const askMillis = 2000 // how long a peer may take to say a few bytes

// awaitHints says whether to let hints for this node come first: they bring what it lacks, and taking that from peers too
// would send it twice.
func (r *Repairer) awaitHints(ctx context.Context, v *shard.View) bool {
	now, waiting := r.now(), false
	for i, m := range v.Members {
		if i == v.Self || !m.Up {
			continue
		}
		r.mu.Lock()
		s := r.state(m.ID)
		asked, hints := s.asked, s.hints
		r.mu.Unlock()
		if now-asked > r.o.Interval.Milliseconds()/2 {
			if a, err := r.greet(ctx, v, m); err == nil {
				hints = a.Hints
			}
		}
		waiting = waiting || hints
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !waiting {
		r.hinted = 0
		return false
	}
	if r.hinted == 0 {
		r.hinted = now
	}
	return now-r.hinted < r.o.HintWait.Milliseconds()
}

// greet asks a peer for nothing but what each answer says.
func (r *Repairer) greet(ctx context.Context, v *shard.View, m shard.Member) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askMillis*time.Millisecond)
	defer cancel()
	return r.askCopied(ctx, v, m, &shard.Set{})
}
