package cluster

import (
	"bytes"
	"math"
	"slices"
	"sync"

	"github.com/minitrue/minitrue/chunk"
)

// distinct leaves out chunks all of whose samples are in another one: replicas have mostly the same. The chunks are sorted by
// time, and so is what it returns, which uses their memory.
func distinct(all []chunk.Chunk) []chunk.Chunk {
	out := all[:0]
	for i := 0; i < len(all); {
		n := overlapping(all[i:])
		group := all[i : i+n]
		i += n
		switch n {
		case 1:
			out = append(out, group[0])
		default:
			out = appendDistinct(out, group)
		}
	}
	return out
}

// appendDistinct appends what is left of chunks that overlap each other, and which follow dst in memory.
func appendDistinct(dst, group []chunk.Chunk) []chunk.Chunk {
	from := len(dst)
	for i := range group {
		c := group[i]
		if !slices.ContainsFunc(dst[from:], func(o chunk.Chunk) bool { return equal(&o, &c) }) {
			dst = append(dst, c)
		}
	}
	if len(dst)-from != 2 || !isFloat(&dst[from]) || !isFloat(&dst[from+1]) {
		return dst
	}
	// Two of the same time that differ: mostly the one goes on where the other ends.
	switch a, b := &dst[from], &dst[from+1]; {
	case partOf(a, b):
		dst[from] = *b
		return dst[:from+1]
	case partOf(b, a):
		return dst[:from+1]
	}
	return dst
}

// equal says whether two chunks have the same bytes.
func equal(a, b *chunk.Chunk) bool {
	return a.Encoding == b.Encoding && a.MinTime == b.MinTime && a.MaxTime == b.MaxTime && a.Samples == b.Samples &&
		(a.Encoding != chunk.Dense || math.Float64bits(a.First) == math.Float64bits(b.First)) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Times, b.Times)
}

// decoded is memory of two decoded chunks.
type decoded struct{ a, b chunk.Columns }

var decodedPool = sync.Pool{New: func() any { return new(decoded) }}

// partOf says whether all samples of a are in b.
func partOf(a, b *chunk.Chunk) bool {
	if a.MinTime < b.MinTime || a.MaxTime > b.MaxTime || a.Samples > b.Samples {
		return false
	}
	d := decodedPool.Get().(*decoded)
	defer decodedPool.Put(d)
	d.a.Reset()
	d.b.Reset()
	if a.AppendTo(&d.a) != nil || b.AppendTo(&d.b) != nil {
		return false // whoever merges them will say why
	}
	j := 0
	for i, t := range d.a.T {
		for j < len(d.b.T) && d.b.T[j] < t {
			j++
		}
		if j == len(d.b.T) || d.b.T[j] != t || math.Float64bits(d.b.V[j]) != math.Float64bits(d.a.V[i]) {
			return false
		}
		j++
	}
	return true
}
