package chunk

import (
	"sort"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/zeebo/xxh3"

	"github.com/minitrue/minitrue/chunk/series"
)

// A Digester makes digests of samples, which do not depend on the chunks that they lie in. It keeps its memory from chunk to
// chunk; the zero value is ready.
type Digester struct {
	cols  Columns
	it    chunkenc.Iterator
	float *histogram.FloatHistogram
	buf   []byte
}

// Chunk calls add with the digest of a chunk's samples in [mint, maxt] (ms, inclusive), window by window.
func (d *Digester) Chunk(id series.ID, c Chunk, mint, maxt int64, add func(window int64, sum series.Digest)) error {
	if c.Encoding == Histogram || c.Encoding == FloatHistogram {
		return d.histograms(id, c, mint, maxt, add)
	}
	d.cols.Reset()
	if err := c.AppendTo(&d.cols); err != nil {
		return err
	}
	t, v := d.cols.T, d.cols.V
	lo := sort.Search(len(t), func(i int) bool { return t[i] >= mint })
	hi := sort.Search(len(t), func(i int) bool { return t[i] > maxt })
	for t, v = t[lo:hi], v[lo:hi]; len(t) > 0; {
		w := Window(t[0])
		n := len(t)
		if Window(t[n-1]) != w {
			n = sort.Search(n, func(i int) bool { return Window(t[i]) != w })
		}
		var sum series.Digest
		for i, t := range t[:n] {
			sum = sum.Plus(series.SampleDigest(id, t, v[i]))
		}
		add(w, sum)
		t, v = t[n:], v[n:]
	}
	return nil
}

func (d *Digester) histograms(id series.ID, c Chunk, mint, maxt int64, add func(window int64, sum series.Digest)) error {
	it, err := c.Iterator(d.it)
	if err != nil {
		return err
	}
	d.it = it
	for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
		t := it.AtT()
		if t < mint || t > maxt {
			continue
		}
		_, d.float = it.AtFloatHistogram(d.float)
		add(Window(t), d.digest(id, t, vt == chunkenc.ValHistogram))
	}
	return it.Err()
}

// Histogram returns the digest of a histogram.
func (d *Digester) Histogram(id series.ID, h series.Histogram) series.Digest {
	if h.Float != nil {
		d.float = h.Float
		sum := d.digest(id, h.T, false)
		d.float = nil // it is the caller's
		return sum
	}
	d.float = h.Int.ToFloat(d.float)
	return d.digest(id, h.T, true)
}

// digest is that of float, which may have been one of integers. Of those, counts beyond 2⁵³ are told apart as far as
// floats are: no further than Merge does.
func (d *Digester) digest(id series.ID, t int64, integers bool) series.Digest {
	kind := byte(0)
	if integers {
		kind = 1
	}
	d.buf = appendHistogram(append(d.buf[:0], kind), d.float)
	h := xxh3.Hash128(d.buf)
	return series.BytesDigest(id, t, series.ID{Hi: h.Hi, Lo: h.Lo})
}
