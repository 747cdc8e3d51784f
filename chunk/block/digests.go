package block

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
	"sort"

	"github.com/minitrue/minitrue/chunk/series"
)

// Digests are those of a block's samples by window of package chunk and by partition, in this order; those of no samples are
// left out.
type Digests struct{ raw []byte }

// digestSize is the size of a digest in a file: int64 window, uint16 partition, and 16 bytes, all big endian.
const digestSize = 8 + 2 + 16

func appendDigest(raw []byte, l digest) []byte {
	raw = binary.BigEndian.AppendUint64(raw, uint64(l.window))
	raw = binary.BigEndian.AppendUint16(raw, l.partition)
	return l.sum.AppendTo(raw)
}

// Len is how many there are.
func (d Digests) Len() int { return len(d.raw) / digestSize }

// At returns the i-th one.
func (d Digests) At(i int) (window int64, partition uint16, sum series.Digest) {
	be, b := binary.BigEndian, d.raw[i*digestSize:]
	return int64(be.Uint64(b)), be.Uint16(b[8:]), series.Digest{Hi: be.Uint64(b[10:]), Lo: be.Uint64(b[18:])}
}

// Windows yields them window by window.
func (d Digests) Windows() iter.Seq2[int64, Digests] {
	return func(yield func(int64, Digests) bool) {
		for rest := d; rest.Len() > 0; {
			w, _, _ := rest.At(0)
			one := rest.Between(w, w)
			if !yield(w, one) {
				return
			}
			rest.raw = rest.raw[len(one.raw):]
		}
	}
}

// Between returns those of the windows [first, last].
func (d Digests) Between(first, last int64) Digests {
	at := func(w int64, after bool) int {
		return sort.Search(d.Len(), func(i int) bool {
			have, _, _ := d.At(i)
			return have > w || have == w && !after
		})
	}
	return Digests{d.raw[at(first, false)*digestSize : at(last, true)*digestSize]}
}

// digest is one with its place.
type digest struct {
	window    int64
	partition uint16
	sum       series.Digest
}

// SumDigests returns the digests of samples that lie in several blocks, none twice.
func SumDigests(ds ...Digests) Digests {
	var all []digest
	for _, d := range ds {
		for i := range d.Len() {
			w, p, sum := d.At(i)
			all = append(all, digest{w, p, sum})
		}
	}
	slices.SortFunc(all, func(a, b digest) int {
		return cmp.Or(cmp.Compare(a.window, b.window), cmp.Compare(a.partition, b.partition))
	})
	var raw []byte
	for i, l := range all {
		if i+1 < len(all) && all[i+1].window == l.window && all[i+1].partition == l.partition {
			all[i+1].sum = all[i+1].sum.Plus(l.sum)
			continue
		}
		raw = appendDigest(raw, l)
	}
	return Digests{raw}
}
