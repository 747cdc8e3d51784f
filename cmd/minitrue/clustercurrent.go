package main

import (
	"context"
	"net/http"
	"time"
)

// syncPatience is how long a node that knows of others waits for them when it starts. It has to come up alone, too.
const syncPatience = 5 * time.Second

// catchUp waits until this node is in a cluster, and knows and has applied what was deleted while it was away: what is stored here before that
// would be deleted with the rest, though it was written later.
func (m *membership) catchUp(ctx context.Context) error {
	for {
		changed := m.gossip.Changed()
		if m.gossip.View().Self >= 0 {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
	if !m.gossip.View().Alone() {
		select {
		case <-ctx.Done():
			return nil
		case <-m.gossip.Agreed():
		case <-time.After(syncPatience):
			m.log.Warn("this node begins though it has not heard from all nodes that are up what was deleted while it was away; it hears of that later", "waited", syncPatience)
		}
	}
	for m.deleter.Apply(ctx) != nil { // the deleter logs why
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	close(m.current)
	return nil
}

// await waits until this node may let samples in.
func (m *membership) await(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
	case <-m.current:
	}
}

// once lets requests through to a handler once this node may let samples in.
func (m *membership) once(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-m.current:
			h.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "this node has just started, and does not know yet what was deleted while it was away", http.StatusServiceUnavailable)
		}
	})
}
