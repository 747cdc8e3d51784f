package mqtt

import (
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// extent is how many bytes of a message are kept with it.
func extent(pk *packets.Packet) int {
	p := &pk.Properties
	n := len(pk.TopicName) + len(pk.Payload) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for i := range p.User {
		n += len(p.User[i].Key) + len(p.User[i].Val) + 32
	}
	return n
}

// retained bounds the memory of retained messages.
type retained struct {
	maxCount, maxBytes int

	mu    sync.Mutex // guards size and bytes
	size  map[string]int
	bytes int
}

// keep accounts for a retained message, which takes the place of an older
// one, or removes that when it has no payload. It returns false when there is no room.
func (r *retained) keep(pk *packets.Packet) bool {
	topic, cost := pk.TopicName, extent(pk)
	r.mu.Lock()
	defer r.mu.Unlock()
	old, had := r.size[topic]
	switch {
	case len(pk.Payload) == 0:
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
