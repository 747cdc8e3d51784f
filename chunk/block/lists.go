package block

import (
	"encoding/binary"
	"math"
)

// maxOrdinals is how many ordinals are in memory at once while lists are made; with more
// labels than that the label sets are gone through several times.
const maxOrdinals = 16 << 20

// writeLists writes the list of every pair, as many pairs at a time as maxOrdinals allows.
func (x *indexWriter) writeLists(place []uint32) error {
	counts := make([]uint32, len(place)) // by place
	x.eachSet(func(_ uint32, labels []uint32) {
		for _, p := range labels {
			counts[place[p]]++
		}
	})
	var lists spool
	ends := make([]uint32, 0, len(place))
	for from := 0; from < len(place); {
		to, total := from, 0
		for ; to < len(place) && (to == from || total+int(counts[to]) <= maxOrdinals); to++ {
			total += int(counts[to])
		}
		x.listRange(place, counts, uint32(from), uint32(to), total, &lists, &ends)
		from = to
	}
	if lists.n > math.MaxUint32 {
		return errTooLarge
	}
	x.begin(secListEnd)
	for _, e := range ends {
		x.put32(secListEnd, e)
	}
	x.begin(secLists)
	for _, b := range lists.pieces {
		x.put(secLists, b)
	}
	return nil
}

// listRange encodes the lists of the pairs at places [from, to), which have total ordinals.
func (x *indexWriter) listRange(place, counts []uint32, from, to uint32, total int, lists *spool, ends *[]uint32) {
	ords := make([]uint32, total)
	next := make([]uint32, to-from) // by place: where its next ordinal goes
	at := uint32(0)
	for i := range next {
		next[i] = at
		at += counts[from+uint32(i)]
	}
	x.eachSet(func(ord uint32, labels []uint32) {
		for _, p := range labels {
			if pl := place[p]; pl >= from && pl < to {
				ords[next[pl-from]] = ord
				next[pl-from]++
			}
		}
	})
	done := uint32(0)
	for i := range next {
		n := counts[from+uint32(i)]
		if done += 1 + n; done >= restEvery {
			x.rest()
			done = 0
		}
		list := ords[next[i]-n : next[i]]
		lists.uvarint(n)
		prev := uint32(0)
		for _, o := range list {
			lists.uvarint(o - prev)
			prev = o
		}
		*ends = append(*ends, uint32(lists.n))
	}
}

// spool is bytes that grow in pieces, never copied.
type spool struct {
	pieces [][]byte
	n      int64
}

func (s *spool) uvarint(v uint32) {
	last := len(s.pieces) - 1
	if last < 0 || cap(s.pieces[last])-len(s.pieces[last]) < binary.MaxVarintLen32 {
		s.pieces = append(s.pieces, make([]byte, 0, labelSlab))
		last++
	}
	before := len(s.pieces[last])
	s.pieces[last] = binary.AppendUvarint(s.pieces[last], uint64(v))
	s.n += int64(len(s.pieces[last]) - before)
}
