package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/hint"
	"github.com/minitrue/minitrue/shard/peer"
)

// errAway ends a replay: the node is not there.
var errAway = errors.New("the node is not up")

// RunHints gives nodes that are back what they missed, beside live writes and slower than these, until the context ends. What was kept for a
// node that has left the cluster is dropped.
func (w *Writer) RunHints(ctx context.Context) error {
	tick := time.NewTicker(w.o.HintEvery)
	defer tick.Stop()
	var replays sync.WaitGroup
	defer replays.Wait()
	var busy sync.Map // ids of nodes to which hints are being replayed
	for {
		for _, id := range w.hints.Peers() {
			m, known := w.member(id)
			switch {
			case !known:
				w.forget(id)
				continue
			case !m.Up:
				continue
			}
			if _, already := busy.LoadOrStore(id, true); already {
				continue
			}
			replays.Go(func() {
				defer busy.Delete(id)
				w.replay(ctx, id)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// member looks a node up. While this node is in no cluster, nobody is known to have left it.
func (w *Writer) member(id string) (m shard.Member, known bool) {
	v := w.members.View()
	if i := v.Ring.Index(id); i >= 0 {
		return v.Members[i], true
	}
	return shard.Member{}, v.Self < 0
}

func (w *Writer) forget(id string) {
	w.o.Logger.Info("dropping what was kept for a node that has left the cluster", "peer", id)
	if err := w.hints.Forget(id); err != nil {
		w.o.Logger.Error("what was kept for a node that has left the cluster cannot be dropped", "peer", id, "err", err)
	}
}

// replay replays the hints of one node until there are none, or one fails.
func (w *Writer) replay(ctx context.Context, id string) {
	n := 0
	err := w.hints.Replay(ctx, id, func(ctx context.Context, h hint.Hint) error {
		start := time.Now()
		if err := w.resend(ctx, id, h); err != nil {
			return err
		}
		n++
		return pause(ctx, time.Duration(float64(len(h.Body))/float64(w.o.HintRate)*float64(time.Second))-time.Since(start))
	})
	switch {
	case err == nil && n > 0:
		w.o.Logger.Info("a node has got what it missed", "peer", id, "writes", n)
	case err != nil && ctx.Err() == nil && !errors.Is(err, errAway):
		w.o.Logger.Warn("what a node missed cannot be sent yet", "peer", id, "sent", n, "err", err)
	}
}

// pause waits, so that hints do not take the bandwidth that live writes need.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resend sends a hint to its node. nil means that it is done with, one way or another.
func (w *Writer) resend(ctx context.Context, id string, h hint.Hint) error {
	m, known := w.member(id)
	if !known || !m.Up {
		return errAway
	}
	l := w.lane(m)
	// A hint may be large, and the node busy with all that it missed.
	sending, cancel := context.WithTimeout(ctx, 4*w.o.PeerTimeout)
	defer cancel()
	_, err := w.post(sending, m, h.Body, 0, h.Time, true)
	switch {
	case err == nil:
		l.replayed.Inc()
		return nil
	case isMoved(err) && w.o.Decode != nil:
		if err := w.rewrite(ctx, h); err != nil {
			return fmt.Errorf("write anew what is no longer for node %s: %w", m.Name, err)
		}
		l.replayed.Inc()
		return nil
	case hopeless(err):
		l.lost.Inc()
		w.o.Logger.Warn("dropped a write that a node missed and will never take", "peer", m.Name, "err", err)
		return nil
	}
	return err
}

// hopeless says whether a node will never take a body.
func hopeless(err error) bool {
	var se *peer.StatusError
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return true
	}
	return false
}

// rewrite appends a hint whose partitions have moved to those who keep them now.
func (w *Writer) rewrite(ctx context.Context, h hint.Hint) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, writePath, bytes.NewReader(bytes.Clone(h.Body)))
	if err != nil {
		return err
	}
	r.Header = writeHeader.Clone()
	b, release, err := w.o.Decode(r)
	if err != nil {
		w.o.Logger.Warn("dropped a write that cannot be read any more", "err", err)
		return nil
	}
	defer release()
	store := func() error { return w.append(ctx, b, origin{h.Time, true}) }
	if w.o.Deleted == nil {
		return store()
	}
	return w.o.Deleted(ctx, b, h.Time, store)
}
