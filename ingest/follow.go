package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// Members says which nodes there are.
type Members interface {
	View() *shard.View        // never nil
	Changed() <-chan struct{} // closed when View may have changed
}

// Poster sends requests to other nodes; an answer that is not 2xx is an error.
type Poster interface {
	Post(ctx context.Context, m shard.Member, path string, body []byte, header http.Header) (*http.Response, error)
}

const (
	retryLeast = 100 * time.Millisecond
	retryMost  = 3 * time.Second
	retryDown  = 30 * time.Second // of a node that is down, which is asked at once when it comes up
)

// links are a reader's to other nodes.
type links struct {
	news chan struct{} // has one token when missing may have changed

	mu  sync.Mutex // guards all, and the links in it
	all map[string]*link
}

// link is a reader's to one node.
type link struct {
	id     string
	name   string
	heard  bool
	cancel context.CancelFunc
	tried  func() // it is heard, or was not the first time that it was asked
}

func (l *links) changed() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *links) set(k *link, name string, heard bool) {
	l.mu.Lock()
	k.name, k.heard = name, heard
	l.mu.Unlock()
	l.changed()
}

// missing are the names of the nodes that are not heard, in order.
func (l *links) missing() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.all {
		if !k.heard {
			names = append(names, k.name)
		}
	}
	slices.Sort(names)
	return names
}

// follow subscribes for a reader at every other node, those that come later as well, until ctx ends. It closes all when each of the
// first has been heard, or could not be reached.
func (t *Tap) follow(ctx context.Context, r *reader, all chan<- struct{}) {
	if t.o.Members == nil {
		close(all)
		return
	}
	var work, first sync.WaitGroup
	defer work.Wait()
	tried := func() func() {
		first.Add(1)
		return sync.OnceFunc(first.Done)
	}
	for {
		changed := t.o.Members.Changed()
		for _, k := range r.links.update(t.o.Members.View(), tried) {
			mine, cancel := context.WithCancel(ctx)
			k.cancel = cancel
			work.Go(func() {
				defer cancel()
				t.hear(mine, r, k)
			})
		}
		if all != nil {
			done := all
			all, tried = nil, func() func() { return func() {} }
			work.Go(func() {
				first.Wait()
				close(done)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// update ends the links to nodes that are there no more, and returns those that are new.
func (l *links) update(v *shard.View, tried func() func()) (fresh []*link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.all
	l.all = make(map[string]*link, len(v.Members))
	for i, m := range v.Members {
		if i == v.Self {
			continue
		}
		k := before[m.ID]
		if k == nil {
			k = &link{id: m.ID, name: m.Name, tried: tried()}
			fresh = append(fresh, k)
		}
		l.all[m.ID] = k
	}
	for id, k := range before {
		if l.all[id] == nil {
			k.cancel()
		}
	}
	l.changed()
	return fresh
}

// hear keeps a subscription at one node, until ctx ends or the node is there no more.
func (t *Tap) hear(ctx context.Context, r *reader, k *link) {
	defer k.tried()
	wait := retryLeast
	for ctx.Err() == nil {
		changed := t.o.Members.Changed()
		m, ok := t.member(k.id)
		if !ok { // follow ends this, unless the node is there again
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		err := t.subscribe(ctx, r, m, func() {
			wait = retryLeast
			r.links.set(k, m.Name, true)
			k.tried()
		})
		r.links.set(k, m.Name, false)
		k.tried()
		t.o.Logger.Debug("a node is not heard for a reader", "peer", m.Name, "err", err)
		t.rest(ctx, m, wait)
		if wait = min(2*wait, retryDown); m.Up {
			wait = min(wait, retryMost)
		}
	}
}

func (t *Tap) member(id string) (shard.Member, bool) {
	for _, m := range t.o.Members.View().Members {
		if m.ID == id {
			return m, true
		}
	}
	return shard.Member{}, false
}

// rest waits before a node is asked again: until about this long has passed, or the node has come up or moved.
func (t *Tap) rest(ctx context.Context, m shard.Member, wait time.Duration) {
	timer := time.NewTimer(wait/2 + rand.N(wait/2))
	defer timer.Stop()
	for {
		changed := t.o.Members.Changed()
		now, ok := t.member(m.ID)
		if !ok || now.Up && !m.Up || now.Peer != m.Peer {
			return
		}
		m = now
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-changed:
		}
	}
}

// subscribe gives a reader what another node accepts, until the stream breaks. It calls heard when the stream is one.
func (t *Tap) subscribe(ctx context.Context, r *reader, m shard.Member, heard func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(3*t.o.Beat, cancel)
	defer silence.Stop()
	body := url.Values{"match[]": r.match}.Encode()
	resp, err := t.o.Peers.Post(ctx, m, pathTap, []byte(body), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	frames := peer.NewFrameReader(resp.Body, frameMost)
	for first := true; ; first = false {
		silence.Reset(3 * t.o.Beat)
		payload, err := frames.Next()
		silence.Stop() // while the reader is slow the other node is not silent
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("node %s shuts down", m.Name)
		case err != nil:
			return err
		case first:
			heard()
		}
		dropped, err := readTapFrame(payload, func(s tapped) error { return r.pass(ctx, s) })
		if r.lost.Add(dropped); dropped > 0 {
			r.links.changed() // perhaps nothing else comes
		}
		if err != nil {
			return err
		}
	}
}
