package cluster

import (
	"encoding/binary"
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
	s.squeezed = s.squeezed[:0]
	once := len(s.plain) >= leastParcel*len(s.parcels)
	if once {
		s.squeeze()
	}
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
			d := delivery{s.gatherBody(list[:k], once), list[:k]}
			byNode[n], all = append(byNode[n], d), append(all, d.body)
			list = list[k:]
		}
	}
	return byNode, all
}

// leastParcel is how many bytes parcels have on average when each is compressed by itself, once for all nodes that get it: what repeats
// between small ones would be too much to leave.
const leastParcel = 8 << 10

// squeeze compresses every parcel.
func (s *split) squeeze() {
	for j := range s.parcels {
		p := &s.parcels[j]
		at := len(s.squeezed)
		s.squeezed = slices.Grow(s.squeezed, s2.MaxEncodedLen(p.to-p.from))
		z := s2.EncodeSnappy(s.squeezed[at:cap(s.squeezed)], s.plain[p.from:p.to])
		_, header := binary.Uvarint(z) // the length, which is that of the whole in a body
		p.zfrom, p.zto = at+header, at+len(z)
		s.squeezed = s.squeezed[:p.zto]
	}
}

// gatherBody makes one body of parcels. What Snappy's elements copy they find by its distance, so that they mean the same behind others.
func (s *split) gatherBody(list []int32, once bool) *body {
	b := bodies.Get().(*body)
	b.hold()
	plain := 0
	for _, j := range list {
		p := &s.parcels[j]
		b.samples += p.samples
		b.series += p.end - p.first
		plain += p.to - p.from
	}
	if once {
		b.b = binary.AppendUvarint(b.b[:0], uint64(plain))
		for _, j := range list {
			b.b = append(b.b, s.squeezed[s.parcels[j].zfrom:s.parcels[j].zto]...)
		}
		return b
	}
	s.gather = s.gather[:0]
	for _, j := range list {
		s.gather = append(s.gather, s.plain[s.parcels[j].from:s.parcels[j].to]...)
	}
	if n := s2.MaxEncodedLen(plain); cap(b.b) < n {
		b.b = make([]byte, n)
	}
	b.b = s2.EncodeSnappy(b.b[:cap(b.b)], s.gather)
	return b
}
