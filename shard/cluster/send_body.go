package cluster

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
)

// body is a brief and a compressed remote_write request, each of which may be missing. Several nodes may get the same one; each holds it
// until it is done.
type body struct {
	b       []byte
	brief   int   // bytes of the brief, which comes first
	samples int   // float samples and histograms in it
	series  int   // in the request
	fresh   fresh // of these
	weight  int   // the memory that it may take as long as it is under way
	refs    atomic.Int32
	spoiled atomic.Bool // somebody may still read it after the last release
}

var bodies = sync.Pool{New: func() any { return new(body) }}

const maxPooledBody = 4 << 20

func (b *body) hold() { b.refs.Add(1) }

func (b *body) release() {
	if b.refs.Add(-1) == 0 && !b.spoiled.Load() && cap(b.b) <= maxPooledBody {
		b.brief, b.samples, b.series, b.weight = 0, 0, 0, 0
		b.fresh.reset()
		bodies.Put(b)
	}
}

// pack makes the bodies for all nodes. Nodes with the same parcels share theirs; the caller holds each body once.
func (s *split) pack() (byNode [][]*delivery, all []*body) {
	byNode = make([][]*delivery, len(s.byNode))
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
				size += p.to - p.from + p.unbrief
				k++
			}
			d := &delivery{body: s.gatherBody(list[:k], once), parcels: list[:k]}
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
		if p.zfrom, p.zto = at, at; p.to == p.from {
			continue
		}
		s.squeezed = appendSnappy(s.squeezed, s.plain[p.from:p.to])
		_, header := binary.Uvarint(s.squeezed[at:]) // the length, which is that of the whole in a body
		p.zfrom, p.zto = at+header, len(s.squeezed)
	}
}

// gatherBody makes one body of parcels. What Snappy's elements copy they find by its distance, so that they mean the same behind others.
func (s *split) gatherBody(list []int32, once bool) *body {
	b := bodies.Get().(*body)
	b.hold()
	b.b, b.fresh.of = b.b[:0], s.routes
	plain := 0
	for _, j := range list {
		p := &s.parcels[j]
		b.samples += p.samples
		b.series += p.end - p.first
		plain += p.to - p.from
		b.weight += p.unbrief
		b.b = append(b.b, s.brief[p.bfrom:p.bto]...)
		b.fresh.add(p.route, s.pieces[p.first:p.end], s.ids)
	}
	b.brief = len(b.b)
	switch {
	case plain == 0:
	case once:
		b.b = binary.AppendUvarint(b.b, uint64(plain))
		for _, j := range list {
			b.b = append(b.b, s.squeezed[s.parcels[j].zfrom:s.parcels[j].zto]...)
		}
	default:
		s.gather = s.gather[:0]
		for _, j := range list {
			s.gather = append(s.gather, s.plain[s.parcels[j].from:s.parcels[j].to]...)
		}
		b.b = appendSnappy(b.b, s.gather)
	}
	b.weight += len(b.b)
	return b
}

// elements returns how long a block of Snappy is without compression, and what it has behind that length, which may stand behind another's: 0 and
// nothing of no block.
func elements(block []byte) (plain uint64, behind []byte) {
	plain, header := binary.Uvarint(block)
	return plain, block[header:]
}

func appendSnappy(dst, plain []byte) []byte {
	dst = slices.Grow(dst, s2.MaxEncodedLen(len(plain)))
	return dst[:len(dst)+len(s2.EncodeSnappy(dst[len(dst):cap(dst)], plain))]
}
