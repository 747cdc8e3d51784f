package cluster

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// pace knows how fast nodes answer and which of them are silent, and keeps hedging from becoming a load of its own.
type pace struct {
	mu    sync.Mutex // guards what follows
	times map[string]*recent
	debt  float64              // hedges, less those that calls and time have earned since
	paid  time.Time            // when time has last earned some
	mute  map[string]time.Time // nodes that were silent, and when one question may find out whether they still are
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

// mayHedge says whether a call may be made again elsewhere, and counts it. Whoever may not may ask again: each second earns one.
func (p *pace) mayHedge(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.paid.IsZero() {
		p.debt = max(0, p.debt-max(0, now.Sub(p.paid).Seconds()))
	}
	p.paid = now
	if p.debt+1 > maxDebt {
		return false
	}
	p.debt++
	return true
}

// trialEvery is how often it is tried whether a silent node answers again.
const trialEvery = time.Second

// silent notes that a node did not answer.
func (p *pace) silent(node string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute == nil {
		p.mute = map[string]time.Time{}
	}
	for id, until := range p.mute {
		if now.Sub(until) > time.Hour { // nobody has wanted to know: it may have left
			delete(p.mute, id)
		}
	}
	p.mute[node] = now.Add(trialEvery)
}

// lively notes that a node has answered.
func (p *pace) lively(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mute, node)
}

// opinion is what a question is to make of a node. One at a time is to find out whether it is still silent.
func (p *pace) opinion(node string, now time.Time) int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, mute := p.mute[node]
	switch {
	case !mute:
		return asks
	case now.Before(until):
		return shunned
	}
	p.mute[node] = now.Add(trialEvery)
	return tries
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
