package chunk

import (
	"slices"
	"sort"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// A Rewriter makes the chunks of a block out of any chunks of one series: overlaps merged, floats Dense,
// cut at aligned divisions of time. It keeps its memory from series to series.
//
// The cut halves an aligned window of time until each part has at most [MaxDense] samples. So it
// depends on nothing but the samples: all series on one schedule are cut alike, in whatever order and
// however often they were written.
type Rewriter struct {
	// Window (ms) bounds the time that a chunk lies in: chunks cross no bound of windows of Span × 2^k, the
	// largest that is not longer. 0 means Span.
	Window int64

	cols Columns
	enc  denseEncoder
	buf  []byte
}

// division is [start, start+length) of time. Its arithmetic is modulo 2⁶⁴, since windows at the ends of
// time reach beyond it.
type division struct{ start, length uint64 }

func (r *Rewriter) window(t int64) division {
	w := int64(Span)
	for w <= r.Window/2 {
		w *= 2
	}
	n := t / w
	if t < 0 {
		n = (t+1)/w - 1
	}
	return division{uint64(n) * uint64(w), uint64(w)}
}

func (d division) has(t int64) bool { return uint64(t)-d.start < d.length }

func (d division) halves() (a, b division) {
	half := d.length / 2
	return division{d.start, half}, division{d.start + half, d.length - half}
}

// Append appends chunks, which are sorted by MinTime and may overlap, to dst in the Rewriter's form. Chunks that
// have it already are passed on as they are; the bytes of the others live until the next Append.
func (r *Rewriter) Append(dst, chunks []Chunk) ([]Chunk, error) {
	r.buf = r.buf[:0]
	for len(chunks) > 0 {
		n, kind := r.group(chunks)
		var err error
		switch group := chunks[:n]; kind {
		case apart:
			dst, err = r.divide(dst, group, r.window(group[0].MinTime))
		case overlap:
			dst, err = r.merge(dst, group)
		default:
			dst, err = r.mixed(dst, group)
		}
		if err != nil {
			return nil, err
		}
		chunks = chunks[n:]
	}
	return dst, nil
}

// What a group of chunks is.
type grouping int

const (
	apart   grouping = iota // floats of one window, or a single chunk that crosses windows
	overlap                 // floats, some at the same time as others
	mixed                   // histograms, perhaps with floats that overlap them
)

func isFloat(c *Chunk) bool { return c.Encoding == XOR || c.Encoding == Dense }

// group returns how many of the first chunks belong together: those that overlap each other, and floats that
// share a window.
func (r *Rewriter) group(chunks []Chunk) (n int, kind grouping) {
	end := chunks[0].MaxTime
	if !isFloat(&chunks[0]) {
		kind = mixed
	}
	for n = 1; n < len(chunks); n++ {
		c := &chunks[n]
		over := c.MinTime <= end
		switch {
		case over && (kind == mixed || !isFloat(c)):
			kind = mixed
		case over:
			kind = overlap
		case kind == mixed || !isFloat(c) || !r.window(end).has(c.MinTime):
			return n, kind
		}
		end = max(end, c.MaxTime)
	}
	return n, kind
}

// divide cuts chunks that do not overlap, by their statistics as far as these go.
func (r *Rewriter) divide(dst, group []Chunk, d division) ([]Chunk, error) {
	total := uint64(0)
	for i := range group {
		total += group[i].Samples
	}
	inside := len(group) == 0 || d.has(group[0].MinTime) && d.has(group[len(group)-1].MaxTime)
	switch {
	case len(group) == 0:
		return dst, nil
	case !inside || total <= MaxDense:
		if inside && len(group) == 1 && group[0].Encoding == Dense {
			return append(dst, group[0]), nil
		}
		if err := r.decode(group); err != nil {
			return nil, err
		}
		if inside {
			return r.halve(dst, r.cols.T, r.cols.V, d), nil
		}
		return r.cut(dst), nil
	}
	a, b := d.halves()
	n := sort.Search(len(group), func(i int) bool { return !a.has(group[i].MinTime) })
	if n > 0 && !a.has(group[n-1].MaxTime) { // it lies in both
		if err := r.decode(group); err != nil {
			return nil, err
		}
		return r.halve(dst, r.cols.T, r.cols.V, d), nil
	}
	dst, err := r.divide(dst, group[:n], a)
	if err != nil {
		return nil, err
	}
	return r.divide(dst, group[n:], b)
}

// decode makes cols the samples of chunks that do not overlap.
func (r *Rewriter) decode(group []Chunk) error {
	r.cols.Reset()
	for i := range group {
		if err := group[i].AppendTo(&r.cols); err != nil {
			return err
		}
	}
	return nil
}

// merge decodes and merges floats.
func (r *Rewriter) merge(dst, group []Chunk) ([]Chunk, error) {
	its := make([]chunkenc.Iterator, len(group))
	for i := range group {
		var err error
		if its[i], err = group[i].Iterator(nil); err != nil {
			return nil, err
		}
	}
	r.cols.Reset()
	it := Merge(its...)
	for it.Next() != chunkenc.ValNone {
		t, v := it.At()
		r.cols.T, r.cols.V = append(r.cols.T, t), append(r.cols.V, v)
	}
	return r.cut(dst), it.Err()
}

// mixed merges histograms with what overlaps them, and makes the floats that stay Dense.
func (r *Rewriter) mixed(dst, group []Chunk) ([]Chunk, error) {
	merged, err := Rewrite(nil, group)
	if err != nil {
		return nil, err
	}
	for i := range merged {
		if !isFloat(&merged[i]) {
			dst = append(dst, merged[i])
			continue
		}
		if err := r.decode(merged[i : i+1]); err != nil {
			return nil, err
		}
		dst = r.cut(dst)
	}
	return dst, nil
}

// cut appends the decoded samples as chunks.
func (r *Rewriter) cut(dst []Chunk) []Chunk {
	for t, v := r.cols.T, r.cols.V; len(t) > 0; {
		d := r.window(t[0])
		n := within(t, d)
		dst = r.halve(dst, t[:n], v[:n], d)
		t, v = t[n:], v[n:]
	}
	return dst
}

// halve appends samples, which lie in a division of time, as chunks.
func (r *Rewriter) halve(dst []Chunk, t []int64, v []float64, d division) []Chunk {
	switch {
	case len(t) == 0:
		return dst
	case len(t) <= MaxDense:
		var c Chunk
		c, r.buf = r.enc.encode(r.buf, t, v)
		return append(dst, c)
	}
	a, b := d.halves()
	n := within(t, a)
	dst = r.halve(dst, t[:n], v[:n], a)
	return r.halve(dst, t[n:], v[n:], b)
}

// within returns how many of the first times lie in d, where they begin.
func within(t []int64, d division) int {
	if d.has(t[len(t)-1]) {
		return len(t)
	}
	n, _ := slices.BinarySearchFunc(t, d, func(x int64, d division) int {
		if d.has(x) {
			return -1
		}
		return 1
	})
	return n
}
