package chunk

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Span is the length in milliseconds of the aligned windows whose bounds no chunk
// crosses, so that blocks can be cut at them without decoding.
const Span = 2 * 60 * 60 * 1000

// MaxSamples is how many samples an XOR or histogram chunk holds at most: few enough that
// decoding one at the edge of a query is cheap, and many enough that its statistics cost little beside it.
const MaxSamples = 480

// maxBytes is how many bytes make a chunk full: histograms may have very many buckets, and a chunk all those that any of its histograms has.
const maxBytes = 1 << 20

// Window returns the number of the span-aligned window that time t lies in.
func Window(t int64) int64 {
	if t < 0 {
		return (t+1)/Span - 1
	}
	return t / Span
}

// WindowBounds returns the first and the last time of a window, as far as times go.
func WindowBounds(window int64) (mint, maxt int64) {
	mint = window * Span
	maxt = mint + (Span - 1)
	if window == Window(math.MinInt64) {
		mint = math.MinInt64
	}
	if window == Window(math.MaxInt64) {
		maxt = math.MaxInt64
	}
	return mint, maxt
}

// Encode appends the samples of an iterator to dst as chunks in this package's
// cut: never across a window, never more than MaxSamples. The data is newly
// allocated.
func Encode(dst []Chunk, it chunkenc.Iterator) ([]Chunk, error) {
	e := Encoder{out: dst}
	for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
		var err error
		switch vt {
		case chunkenc.ValFloat:
			t, v := it.At()
			err = e.Float(t, v)
		case chunkenc.ValHistogram:
			t, h := it.AtHistogram(nil)
			err = e.Histogram(t, h)
		default:
			t, h := it.AtFloatHistogram(nil)
			err = e.FloatHistogram(t, h)
		}
		if err != nil {
			return nil, fmt.Errorf("encode chunk: %w", err)
		}
	}
	return e.Chunks(), it.Err()
}

// Encoder turns samples that come in time order into chunks in this package's cut.
// The zero value is ready.
type Encoder struct {
	out   []Chunk
	enc   Encoding // 0 while there is no open chunk
	cur   chunkenc.Chunk
	app   chunkenc.Appender
	stats Stats
	done  int // about how many bytes out takes
}

// Size is about how many bytes the chunks take.
func (e *Encoder) Size() int {
	if e.enc == 0 {
		return e.done
	}
	return e.done + len(e.cur.Bytes())
}

// Chunks returns all chunks so far. The data of the last one changes with the next
// sample.
func (e *Encoder) Chunks() []Chunk {
	if e.enc == 0 || e.stats.Samples == 0 {
		return e.out
	}
	return append(e.out[:len(e.out):len(e.out)], Chunk{Stats: e.stats, Encoding: e.enc, Data: e.cur.Bytes()})
}

// room makes sure that the current chunk can take a sample at t, and returns the
// appender of the chunk before it when it had to be replaced.
func (e *Encoder) room(enc Encoding, t int64) (prev chunkenc.Appender, err error) {
	if e.enc == enc && e.stats.Samples < MaxSamples && Window(t) == Window(e.stats.MaxTime) && len(e.cur.Bytes()) < maxBytes {
		return nil, nil
	}
	if e.enc == enc {
		prev = e.app
	}
	e.finish()
	switch enc {
	case XOR:
		e.cur = chunkenc.NewXORChunk()
	case Histogram:
		e.cur = chunkenc.NewHistogramChunk()
	default:
		e.cur = chunkenc.NewFloatHistogramChunk()
	}
	e.enc, e.stats = enc, NoStats()
	e.app, err = e.cur.Appender()
	return prev, err
}

func (e *Encoder) finish() {
	if e.enc != 0 && e.stats.Samples > 0 {
		e.out = append(e.out, Chunk{Stats: e.stats, Encoding: e.enc, Data: e.cur.Bytes()})
		e.done += int(unsafe.Sizeof(Chunk{})) + len(e.cur.Bytes())
	}
	e.enc = 0
}

// Float adds a float sample at t (ms).
func (e *Encoder) Float(t int64, v float64) error {
	if _, err := e.room(XOR, t); err != nil {
		return err
	}
	e.app.Append(0, t, v)
	e.stats.Observe(t, v)
	return nil
}

// Histogram adds an integer histogram at t (ms), which it may change.
func (e *Encoder) Histogram(t int64, h *histogram.Histogram) error {
	prev, err := e.room(Histogram, t)
	if err != nil {
		return err
	}
	c, recoded, app, err := e.app.AppendHistogram(prev, 0, t, h, false)
	return e.appended(c, recoded, app, err, t, h.Sum)
}

// FloatHistogram adds a float histogram at t (ms), which it may change.
func (e *Encoder) FloatHistogram(t int64, h *histogram.FloatHistogram) error {
	prev, err := e.room(FloatHistogram, t)
	if err != nil {
		return err
	}
	c, recoded, app, err := e.app.AppendFloatHistogram(prev, 0, t, h, false)
	return e.appended(c, recoded, app, err, t, h.Sum)
}

// appended takes over what appending a histogram did: it may have begun a new
// chunk (after a counter reset) or recoded the current one (for new buckets).
func (e *Encoder) appended(c chunkenc.Chunk, recoded bool, app chunkenc.Appender, err error, t int64, sum float64) error {
	if err != nil {
		return err
	}
	if c != nil {
		if enc := e.enc; !recoded {
			e.finish()
			e.enc, e.stats = enc, NoStats()
		}
		e.cur = c
	}
	e.app = app
	e.stats.ObserveHistogram(t, sum)
	return nil
}

// Rewrite merges the samples of chunks of one series, which are sorted by MinTime and may
// overlap, into chunks that do not, in time order. Chunks that overlap no other are
// passed on as they are.
func Rewrite(dst, chunks []Chunk) ([]Chunk, error) { return Regroup(dst, chunks, overlapping) }

// overlapping returns how many of the first chunks overlap each other, 1 for none.
func overlapping(chunks []Chunk) int {
	n, end := 1, chunks[0].MaxTime
	for n < len(chunks) && chunks[n].MinTime <= end {
		end = max(end, chunks[n].MaxTime)
		n++
	}
	return n
}

// Regroup appends chunks of one series, sorted by MinTime, to dst. As many of the first as
// group says are merged and encoded anew, and so on with the rest; one alone is passed on.
func Regroup(dst, chunks []Chunk, group func(chunks []Chunk) int) ([]Chunk, error) {
	for len(chunks) > 0 {
		n := group(chunks)
		if n == 1 {
			dst = append(dst, chunks[0])
		} else {
			its := make([]chunkenc.Iterator, n)
			for i, c := range chunks[:n] {
				var err error
				if its[i], err = c.Iterator(nil); err != nil {
					return nil, err
				}
			}
			var err error
			if dst, err = Encode(dst, Merge(its...)); err != nil {
				return nil, err
			}
		}
		chunks = chunks[n:]
	}
	return dst, nil
}
