package mqtt

import "sync"

// retained bounds the memory of retained messages.
type retained struct {
	maxCount, maxBytes int

	mu    sync.Mutex // guards size and bytes
	size  map[string]int
	bytes int
}

// keep accounts for a retained message of n bytes of payload, which takes the place of an older
// one, or removes it when n is 0. It returns false when there is no room.
func (r *retained) keep(topic string, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, had := r.size[topic]
	cost := n + len(topic)
	switch {
	case n == 0:
		delete(r.size, topic)
		r.bytes -= old
		return true
	case r.bytes-old+cost > r.maxBytes, !had && len(r.size) >= r.maxCount:
		return false
	}
	if r.size == nil {
		r.size = map[string]int{}
	}
	r.size[topic] = cost
	r.bytes += cost - old
	return true
}
