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

// Batch are the series that travel in one request. It belongs to one goroutine at a time.
// [Batch.Packed] is what travels; [Batch.AppendSteps] is the same uncompressed.
//
// Both versions of the protocol frame a series alike, and only head and tag differ:
//
//	┌─────┬─────────┬── head ──┬──────┬─────┬──────┬───────┬──────┬──────┐
//	│ tag │ uvarint │ labels   │ 0x12 │ len │ 0x09 │ value │ 0x10 │ time │
//	└─────┴─────────┴──────────┴──────┴─────┴─ 1 ──┴─  8 ──┴─ 1 ──┴──────┘
//
// head being the frames of the labels in 1.0 (tag 0x0a), and their packed symbol
// references in 2.0 (tag 0x2a), where the symbols stand before the first series. What comes behind
// the head is there once for each sample.
type Batch struct {
	First, Last int // series [First, Last), if they are adjacent

	numbers []int // of the series
	shape   Shape
	step    int // of the next body
	tag     byte
	prefix  []byte // what every body begins with
	heads   []byte // of all series, one after the other
	ends    []uint32
	walkers []Walker
	packing packing
}

// NewBatch encodes the labels of series [first, last) once for all the batch's bodies.
func (s Shape) NewBatch(p Protocol, first, last int) (*Batch, error) {
	if first < 0 || last > s.Series || first >= last {
		return nil, fmt.Errorf("series [%d, %d) of %d", first, last, s.Series)
	}
	numbers := make([]int, last-first)
	for i := range numbers {
		numbers[i] = first + i
	}
	return s.BatchOf(p, numbers)
}

// BatchOf is like NewBatch for series that need not be adjacent. It keeps numbers.
func (s Shape) BatchOf(p Protocol, numbers []int) (*Batch, error) {
	b := &Batch{numbers: numbers, shape: s, walkers: make([]Walker, 0, len(numbers)), ends: make([]uint32, 0, len(numbers))}
	for _, n := range numbers {
		if n < 0 || n >= s.Series {
			return nil, fmt.Errorf("series %d of %d", n, s.Series)
		}
		b.walkers = append(b.walkers, s.Walker(n))
	}
	if len(numbers) > 0 {
		b.First, b.Last = numbers[0], numbers[len(numbers)-1]+1
	}
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
	return b, nil
}

func (b *Batch) encodeLabels() {
	for _, i := range b.numbers {
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
	for _, i := range b.numbers {
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

// Begin makes step the next one that is encoded. The values go on where they are: those of a series
// that begins late are those that it would have had at its first steps.
func (b *Batch) Begin(step int) { b.step = step }

// Len is the number of series.
func (b *Batch) Len() int { return len(b.numbers) }

// Append appends the body of the next step to dst, not yet compressed.
func (b *Batch) Append(dst []byte) []byte { return b.AppendSteps(dst, 1) }

// AppendSteps appends a body with so many steps to dst, not yet compressed: of each series that many samples.
func (b *Batch) AppendSteps(dst []byte, steps int) []byte {
	size := 0 // of a series' samples
	for i := range steps {
		size += len(b.frame(nil, i))
	}
	dst = append(dst, b.prefix...)
	begin := uint32(0)
	for i, end := range b.ends {
		head := b.heads[begin:end]
		begin = end
		dst = append(dst, b.tag)
		dst = binary.AppendUvarint(dst, uint64(len(head)+size))
		dst = append(dst, head...)
		for k := range steps {
			at := len(dst) + valueAt
			dst = b.frame(dst, k)
			binary.LittleEndian.PutUint64(dst[at:], math.Float64bits(b.walkers[i].Next()))
		}
	}
	b.step += steps
	return dst
}

const valueAt = 3 // in a frame

// frame appends the frame of a sample at the k-th step from now, its value left zero.
func (b *Batch) frame(dst []byte, k int) []byte {
	at := len(dst)
	dst = append(dst, 0x12, 0, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10)
	dst = binary.AppendUvarint(dst, uint64(b.shape.Time(b.step+k)))
	dst[at+1] = byte(len(dst) - at - 2)
	return dst
}
