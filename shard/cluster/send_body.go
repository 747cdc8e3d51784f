package cluster

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
)

// body is a compressed remote_write request. Several nodes may get the same one; each holds it until it is done.
type body struct {
	b       []byte
	samples int // float samples and histograms in it
	series  int
	refs    atomic.Int32
	spoiled atomic.Bool // somebody may still read it after the last release
}

var bodies = sync.Pool{New: func() any { return new(body) }}

const maxPooledBody = 4 << 20

func (b *body) hold() { b.refs.Add(1) }

func (b *body) release() {
	if b.refs.Add(-1) == 0 && !b.spoiled.Load() && cap(b.b) <= maxPooledBody {
		b.samples, b.series = 0, 0
		bodies.Put(b)
	}
}

// delivery is a body and the parcels in it.
type delivery struct {
	body    *body
	parcels []int32
}

// pack makes the bodies for all nodes. Nodes with the same parcels share theirs; the caller holds each body once.
func (s *split) pack() (byNode [][]delivery, all []*body) {
	byNode = make([][]delivery, len(s.byNode))
	for n, list := range s.byNode {
		if len(list) == 0 {
			continue
		}
		if same := slices.IndexFunc(s.byNode[:n], func(o []int32) bool { return slices.Equal(o, list) }); same >= 0 {
			byNode[n] = byNode[same]
			continue
		}
		for len(list) > 0 {
			k, size := 0, 0
			for k < len(list) && (k == 0 || size < bodyBytes) {
				p := &s.parcels[list[k]]
				size += p.to - p.from
				k++
			}
			d := delivery{s.compress(list[:k]), list[:k]}
			byNode[n], all = append(byNode[n], d), append(all, d.body)
			list = list[k:]
		}
	}
	return byNode, all
}

// compress makes one body of parcels.
func (s *split) compress(list []int32) *body {
	first := &s.parcels[list[0]]
	b := bodies.Get().(*body)
	b.hold()
	from, to, gathered := first.from, first.from, false
	s.gather = s.gather[:0]
	for _, j := range list {
		p := &s.parcels[j]
		b.samples += p.samples
		b.series += p.end - p.first
		if p.from != to && !gathered { // they do not lie beside each other
			s.gather, gathered = append(s.gather, s.plain[from:to]...), true
		}
		if gathered {
			s.gather = append(s.gather, s.plain[p.from:p.to]...)
		}
		to = p.to
	}
	src := s.plain[from:to]
	if gathered {
		src = s.gather
	}
	if n := s2.MaxEncodedLen(len(src)); cap(b.b) < n {
		b.b = make([]byte, n)
	}
	b.b = s2.EncodeSnappy(b.b[:cap(b.b)], src)
	return b
}
