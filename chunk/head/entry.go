package head

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/minitrue/minitrue/chunk"
)

// entry is what a memtable holds of one series: the state of its open chunk, and
// where the rest is. Its 64 bytes are a cache line.
type entry struct {
	t, delta int64   // the last time and the step to it, ms
	v        float64 // the last value
	acc      uint64  // bits that do not fill a word yet, from the top
	head     uint32  // first piece of the open chunk
	tail     uint32  // its last piece
	closed   uint32  // the last closed chunk
	late     uint32  // the last piece of late samples
	nLate    uint32  // how many of them
	words    uint16  // full words of the open chunk
	count    uint16  // samples of the open chunk
	nacc     uint8   // bits in acc
	leading  uint8   // leading zeros of the last XOR, noLeading before the first
	trailing uint8
}

const noLeading = 0xff

// closedChunk is a chunk that gets no more samples.
type closedChunk struct {
	chunk.Stats
	prev  uint32 // the chunk before it
	head  uint32 // its first piece
	acc   uint64
	words uint16
	nacc  uint8
}

// append adds a sample that is later than the last one to the open chunk. The
// bits are those of Prometheus's XOR chunk, which is Gorilla's (Pelkonen et al.,
// VLDB 2015) with other widths for the times.
func (m *Memtable) append(e *entry, t int64, v float64) {
	switch e.count {
	case 0:
		var buf [binary.MaxVarintLen64]byte
		for _, b := range buf[:binary.PutVarint(buf[:], t)] {
			m.put(e, uint64(b), 8)
		}
		m.put(e, math.Float64bits(v), 64)
		e.leading = noLeading
	case 1:
		e.delta = t - e.t
		var buf [binary.MaxVarintLen64]byte
		for _, b := range buf[:binary.PutUvarint(buf[:], uint64(e.delta))] {
			m.put(e, uint64(b), 8)
		}
		m.putXOR(e, v)
	default:
		delta := t - e.t
		m.putStep(e, delta-e.delta)
		e.delta = delta
		m.putXOR(e, v)
	}
	e.t, e.v = t, v
	e.count++
}

// putStep writes the difference of two time steps.
func (m *Memtable) putStep(e *entry, d int64) {
	switch {
	case d == 0:
		m.put(e, 0, 1)
	case fits(d, 14):
		m.put(e, 0b10<<14|uint64(d)&(1<<14-1), 16)
	case fits(d, 17):
		m.put(e, 0b110<<17|uint64(d)&(1<<17-1), 20)
	case fits(d, 20):
		m.put(e, 0b1110<<20|uint64(d)&(1<<20-1), 24)
	default:
		m.put(e, 0b1111, 4)
		m.put(e, uint64(d), 64)
	}
}

func fits(d int64, n uint) bool { return -(1<<(n-1)-1) <= d && d <= 1<<(n-1) }

// putXOR writes a value as its difference from the last one.
func (m *Memtable) putXOR(e *entry, v float64) {
	x := math.Float64bits(v) ^ math.Float64bits(e.v)
	if x == 0 {
		m.put(e, 0, 1)
		return
	}
	leading, trailing := uint8(bits.LeadingZeros64(x)), uint8(bits.TrailingZeros64(x))
	if leading >= 32 {
		leading = 31 // five bits
	}
	if e.leading != noLeading && leading >= e.leading && trailing >= e.trailing {
		m.put(e, 0b10, 2)
		m.put(e, x>>e.trailing, 64-e.leading-e.trailing)
		return
	}
	e.leading, e.trailing = leading, trailing
	n := 64 - leading - trailing
	m.put(e, 0b11<<11|uint64(leading)<<6|uint64(n)&63, 13) // n = 64 is written as 0
	m.put(e, x>>trailing, n)
}

// put writes the low n bits of x, which has no others.
func (m *Memtable) put(e *entry, x uint64, n uint8) {
	room := 64 - e.nacc
	if n < room {
		e.acc |= x << (room - n)
		e.nacc += n
		return
	}
	rest := n - room
	m.push(e, e.acc|x>>rest)
	e.nacc = rest
	e.acc = x << (64 - rest) // 0 if rest is 0
}

// push writes a full word.
func (m *Memtable) push(e *entry, word uint64) {
	i := e.words % 7
	if i == 0 {
		next := m.piece()
		if e.words == 0 {
			e.head = next
		} else {
			m.pieces.at(e.tail).next = next
		}
		e.tail = next
	}
	m.pieces.at(e.tail).words[i] = word
	e.words++
}

// bytes appends the XOR chunk that begins at a piece to dst.
func (m *Memtable) bytes(dst []byte, count, words uint16, head uint32, acc uint64, nacc uint8) []byte {
	dst = binary.BigEndian.AppendUint16(dst, count)
	for at := head; words > 0; {
		p := m.pieces.at(at)
		n := min(words, 7)
		for _, w := range p.words[:n] {
			dst = binary.BigEndian.AppendUint64(dst, w)
		}
		words -= n
		at = p.next
	}
	var last [8]byte
	binary.BigEndian.PutUint64(last[:], acc)
	return append(dst, last[:(nacc+7)/8]...)
}

// sizeOf is the length of what bytes appends.
func sizeOf(words uint16, nacc uint8) int { return 2 + 8*int(words) + int(nacc+7)/8 }
