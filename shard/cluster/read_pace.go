package cluster

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// pace knows how fast nodes answer, and keeps hedging from becoming a load of its own.
type pace struct {
	mu    sync.Mutex // guards what follows
	times map[string]*recent
	debt  float64 // hedges, less those that calls have earned since
}

// recent are the latest times until something came from a node.
type recent struct {
	ring [32]time.Duration
	n    int
}

const (
	maxDebt    = 10.0
	earned     = 0.125 // by a call: in the long run one in eight may be made twice
	leastHedge = 50 * time.Millisecond
)

// observe notes how long the first sign of life of a node took.
func (p *pace) observe(kind string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.times == nil {
		p.times = map[string]*recent{}
	}
	r := p.times[kind]
	if r == nil {
		r = &recent{}
		p.times[kind] = r
	}
	r.ring[r.n%len(r.ring)] = took
	r.n++
	p.debt = max(0, p.debt-earned)
}

// median is that of the latest times, 0 when there are none.
func (p *pace) median(kind string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.times[kind]
	if r == nil {
		return 0
	}
	sorted := r.ring
	n := min(r.n, len(sorted))
	slices.Sort(sorted[:n])
	return sorted[n/2]
}

// mayHedge says whether a call may be made again elsewhere, and counts it.
func (p *pace) mayHedge() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.debt+1 > maxDebt {
		return false
	}
	p.debt++
	return true
}

// patience is the silence that is borne before another node is asked.
func (r *Reader) patience(kind string) time.Duration {
	if r.o.Hedge > 0 {
		return r.o.Hedge
	}
	return max(leastHedge, 3*r.pace.median(kind))
}

// ranks gives each of n nodes a place in a random order.
func ranks(n int) []int { return rand.Perm(n) }
