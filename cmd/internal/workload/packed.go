package workload

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// packing is the body of a batch in snappy's block format, made once: labels are what compresses, and they never
// change. Samples stand in it as they are, and only their bytes are replaced.
//
//	┌────────────┬────────────────────────┬────────────────────┬─────
//	│ raw length │ copies and few letters │ literal of samples │ …
//	└────────────┴──── labels of one ─────┴────────────────────┴─────
//
// The format is described at https://github.com/google/snappy/blob/main/format_description.txt.
type packing struct {
	steps   int      // samples of a series
	frame   int      // bytes of a sample
	body    []byte   //
	samples []uint32 // where the samples of a series begin
}

// Packed is the body of the next steps in snappy's block format. It is valid until the next call.
func (b *Batch) Packed(steps int) []byte {
	size := len(b.frame(nil, steps-1)) // of the latest, and so of the longest
	if b.packing.steps != steps || b.packing.frame != size || len(b.frame(nil, 0)) != size {
		b.packing = b.pack(steps)
	}
	p := &b.packing
	frames := make([]byte, 0, steps*size)
	for k := range steps {
		frames = b.frame(frames, k)
	}
	for i, at := range p.samples {
		dst := p.body[at:]
		copy(dst, frames)
		for at := valueAt; at < len(frames); at += size {
			binary.LittleEndian.PutUint64(dst[at:], math.Float64bits(b.walkers[i].Next()))
		}
	}
	b.step += steps
	return p.body
}

// pack compresses a body of these steps whose values are zero.
func (b *Batch) pack(steps int) packing {
	var frames []byte
	for k := range steps {
		frames = b.frame(frames, k)
	}
	p := packing{steps: steps, frame: len(frames) / steps, samples: make([]uint32, 0, len(b.ends))}
	z := packer{seen: make([]place, 1<<hashBits)}
	z.labels(b.prefix)
	begin := uint32(0)
	var head []byte
	for _, end := range b.ends {
		labels := b.heads[begin:end]
		begin = end
		head = append(head[:0], b.tag)
		head = binary.AppendUvarint(head, uint64(len(labels)+len(frames)))
		z.labels(append(head, labels...))
		z.literal(frames)
		p.samples = append(p.samples, uint32(len(z.out)-len(frames)))
		z.raw = append(z.raw, frames...)
	}
	length := binary.AppendUvarint(nil, uint64(len(z.raw)))
	for i := range p.samples {
		p.samples[i] += uint32(len(length))
	}
	p.body = append(length, z.out...)
	return p
}

const (
	hashBits    = 12
	shortest    = 4 // bytes that a copy is worth
	longestCopy = 64
	farthest    = 1<<16 - 1
)

// place is where four bytes of labels stand, and where these labels end: a copy goes no further, since samples follow.
type place struct{ at, end int32 }

// packer compresses what never changes by copies of what never changes.
type packer struct {
	raw, out []byte
	seen     []place // by the hash of four bytes
}

// labels compresses bytes that stay as they are.
func (z *packer) labels(b []byte) {
	begin := len(z.raw)
	z.raw = append(z.raw, b...)
	end, open := len(z.raw), begin // bytes from open on are not yet written
	for i := begin; i+shortest <= end; {
		four := binary.LittleEndian.Uint32(z.raw[i:])
		slot := &z.seen[four*0x9e3779b1>>(32-hashBits)]
		from := *slot
		*slot = place{int32(i), int32(end)}
		n := 0
		if at := int(from.at); from.end > 0 && i-at <= farthest {
			for i+n < end && at+n < int(from.end) && at+n < i && z.raw[at+n] == z.raw[i+n] {
				n++
			}
		}
		if n < shortest {
			i++
			continue
		}
		z.literal(z.raw[open:i])
		z.copy(i-int(from.at), n)
		i += n
		open = i
	}
	z.literal(z.raw[open:end])
}

// literal writes bytes as they are.
func (z *packer) literal(b []byte) {
	n := len(b) - 1
	switch {
	case n < 0:
		return
	case n < 60:
		z.out = append(z.out, byte(n)<<2)
	default:
		size := (bits.Len(uint(n)) + 7) / 8
		z.out = append(z.out, byte(59+size)<<2)
		for range size {
			z.out = append(z.out, byte(n))
			n >>= 8
		}
	}
	z.out = append(z.out, b...)
}

// copy writes n bytes from so far back.
func (z *packer) copy(back, n int) {
	for n > 0 {
		k := min(n, longestCopy)
		z.out = append(z.out, byte(k-1)<<2|2, byte(back), byte(back>>8))
		n -= k
	}
}
