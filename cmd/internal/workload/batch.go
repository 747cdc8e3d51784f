package workload

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// Protocol is a version of remote_write.
type Protocol string

const (
	V1 Protocol = "1.0"
	V2 Protocol = "2.0"
)

// Batch is a run of adjacent series that travel in one request. It belongs to one
// goroutine at a time.
//
// Both versions of the protocol frame a series alike, and only head and tag differ:
//
//	┌─────┬─────────┬── head ──┬──────┬─────┬──────┬───────┬──────┬──────┐
//	│ tag │ uvarint │ labels   │ 0x12 │ len │ 0x09 │ value │ 0x10 │ time │
//	└─────┴─────────┴──────────┴──────┴─────┴─ 1 ──┴─  8 ──┴─ 1 ──┴──────┘
//
// head being the frames of the labels in 1.0 (tag 0x0a), and their packed symbol
// references in 2.0 (tag 0x2a), where the symbols stand before the first series.
type Batch struct {
	First, Last int // series [First, Last)

	shape   Shape
	step    int // of the next body
	tag     byte
	prefix  []byte // what every body begins with
	heads   []byte // of all series, one after the other
	ends    []uint32
	walkers []Walker
}

// NewBatch encodes the labels of series [first, last) once for all the batch's bodies.
func (s Shape) NewBatch(p Protocol, first, last int) (*Batch, error) {
	if first < 0 || last > s.Series || first >= last {
		return nil, fmt.Errorf("series [%d, %d) of %d", first, last, s.Series)
	}
	b := &Batch{First: first, Last: last, shape: s, walkers: make([]Walker, 0, last-first), ends: make([]uint32, 0, last-first)}
	switch p {
	case V1:
		b.tag = 0x0a
		b.encodeLabels()
	case V2:
		b.tag = 0x2a
		b.encodeRefs()
	default:
		return nil, fmt.Errorf("remote_write protocol %q: want %q or %q", p, V1, V2)
	}
	for i := first; i < last; i++ {
		b.walkers = append(b.walkers, s.Walker(i))
	}
	return b, nil
}

func (b *Batch) encodeLabels() {
	for i := b.First; i < b.Last; i++ {
		b.heads = series.AppendKey(b.heads, Labels(i))
		b.ends = append(b.ends, uint32(len(b.heads)))
	}
}

func (b *Batch) encodeRefs() {
	symbols := map[string]uint64{"": 0}
	b.prefix = append(b.prefix, 0x22, 0) // symbol 0 is the empty string
	ref := func(s string) uint64 {
		n, ok := symbols[s]
		if !ok {
			n = uint64(len(symbols))
			symbols[s] = n
			b.prefix = append(b.prefix, 0x22)
			b.prefix = binary.AppendUvarint(b.prefix, uint64(len(s)))
			b.prefix = append(b.prefix, s...)
		}
		return n
	}
	var refs []byte
	for i := b.First; i < b.Last; i++ {
		refs = refs[:0]
		Labels(i).Range(func(l labels.Label) {
			refs = binary.AppendUvarint(refs, ref(l.Name))
			refs = binary.AppendUvarint(refs, ref(l.Value))
		})
		b.heads = append(b.heads, 0x0a)
		b.heads = binary.AppendUvarint(b.heads, uint64(len(refs)))
		b.heads = append(b.heads, refs...)
		b.ends = append(b.ends, uint32(len(b.heads)))
	}
}

// Step is the step that the next Append encodes.
func (b *Batch) Step() int { return b.step }

// Len is the number of series, and so of samples in a body.
func (b *Batch) Len() int { return b.Last - b.First }

// Append appends the body of the next step to dst, not yet compressed.
func (b *Batch) Append(dst []byte) []byte {
	var tail [32]byte // the sample: 0x12, len, value, time
	t := append(tail[:2], 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10)
	t = binary.AppendUvarint(t, uint64(b.shape.Time(b.step)))
	tail[0], tail[1] = 0x12, byte(len(t)-2)
	b.step++

	dst = append(dst, b.prefix...)
	begin := uint32(0)
	for i, end := range b.ends {
		head := b.heads[begin:end]
		begin = end
		binary.LittleEndian.PutUint64(t[3:11], math.Float64bits(b.walkers[i].Next()))
		dst = append(dst, b.tag)
		dst = binary.AppendUvarint(dst, uint64(len(head)+len(t)))
		dst = append(dst, head...)
		dst = append(dst, t...)
	}
	return dst
}
