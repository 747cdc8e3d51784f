package chunk

import (
	"bytes"
	"cmp"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Prefer returns the one of two values of the same series at the same time
// that stays. It is commutative, associative and idempotent.
func Prefer(a, b float64) float64 {
	if ra, rb := rank(a), rank(b); ra != rb {
		if ra > rb {
			return a
		}
		return b
	}
	if a > b {
		return a
	}
	if b > a {
		return b
	}
	// Left are equal numbers (+0 and −0 differ in bits) and NaNs, whose payloads may
	// differ: any total order of the bits will do.
	if int64(math.Float64bits(a)) > int64(math.Float64bits(b)) {
		return a
	}
	return b
}

func rank(v float64) int {
	switch {
	case value.IsStaleNaN(v):
		return 0
	case math.IsNaN(v):
		return 1
	}
	return 2
}

// compareHistograms orders two histograms at the same time: the greater stays.
// Stale ones are least, then the count decides, then the sum, then anything that
// is the same everywhere. They are equal when their digests are, but for one being of integers.
func compareHistograms(a, b *histogram.FloatHistogram) int {
	if sa, sb := value.IsStaleNaN(a.Sum), value.IsStaleNaN(b.Sum); sa != sb {
		if sa {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Count, b.Count), cmp.Compare(a.Sum, b.Sum),
		bytes.Compare(appendHistogram(nil, a), appendHistogram(nil, b)))
}

// Merge returns an iterator over the union of samples of several iterators over the
// same series, each time once, by the rule of this package. The inputs must each be in time
// order; they may overlap. It is made for a handful of inputs.
func Merge(its ...chunkenc.Iterator) chunkenc.Iterator {
	if len(its) == 1 {
		return its[0]
	}
	m := &merged{ins: make([]input, len(its))}
	for i, it := range its {
		m.ins[i].it = it
	}
	return m
}

type input struct {
	it chunkenc.Iterator
	vt chunkenc.ValueType
	t  int64
}

func (in *input) set(vt chunkenc.ValueType) {
	in.vt = vt
	if vt != chunkenc.ValNone {
		in.t = in.it.AtT()
	}
}

type merged struct {
	ins     []input
	started bool
	cur     int // the input that holds the current sample; valid while vt is not ValNone
	last    int // the input that held the one before
	vt      chunkenc.ValueType
	t       int64
	v       float64
	err     error
}

func (m *merged) Next() chunkenc.ValueType {
	if m.err != nil {
		return chunkenc.ValNone
	}
	if !m.started {
		m.started = true
		m.last = -1
		for i := range m.ins {
			m.ins[i].set(m.ins[i].it.Next())
		}
		return m.pick()
	}
	if m.vt == chunkenc.ValNone {
		return chunkenc.ValNone
	}
	m.last = m.cur
	for i := range m.ins {
		if in := &m.ins[i]; in.vt != chunkenc.ValNone && in.t <= m.t {
			in.set(in.it.Next())
		}
	}
	return m.pick()
}

func (m *merged) Seek(t int64) chunkenc.ValueType {
	if m.err != nil || m.started && m.vt == chunkenc.ValNone {
		return chunkenc.ValNone
	}
	if m.started && m.t >= t {
		return m.vt
	}
	if !m.started {
		m.started = true
		for i := range m.ins {
			m.ins[i].set(m.ins[i].it.Seek(t))
		}
	} else {
		for i := range m.ins {
			if in := &m.ins[i]; in.vt != chunkenc.ValNone && in.t < t {
				in.set(in.it.Seek(t))
			}
		}
	}
	m.last = -1
	return m.pick()
}

// pick makes the earliest sample the current one, and of several at its time the one that stays.
func (m *merged) pick() chunkenc.ValueType {
	m.vt = chunkenc.ValNone
	for i := range m.ins {
		in := &m.ins[i]
		if in.vt == chunkenc.ValNone {
			if err := in.it.Err(); err != nil {
				m.err, m.vt = err, chunkenc.ValNone
				return chunkenc.ValNone
			}
			continue
		}
		switch {
		case m.vt == chunkenc.ValNone || in.t < m.t:
			m.take(i)
		case in.t == m.t:
			m.contest(i)
		}
	}
	return m.vt
}

func (m *merged) take(i int) {
	in := &m.ins[i]
	m.cur, m.vt, m.t = i, in.vt, in.t
	if in.vt == chunkenc.ValFloat {
		_, m.v = in.it.At()
	}
}

// contest lets input i replace the current sample, which has the same time.
func (m *merged) contest(i int) {
	in := &m.ins[i]
	switch {
	case in.vt == chunkenc.ValFloat && m.vt == chunkenc.ValFloat:
		_, v := in.it.At()
		m.v = Prefer(m.v, v)
	case in.vt == chunkenc.ValFloat:
		_, v := in.it.At()
		_, h := m.ins[m.cur].it.AtFloatHistogram(nil)
		if value.IsStaleNaN(h.Sum) && !value.IsStaleNaN(v) {
			m.take(i)
		}
	case m.vt == chunkenc.ValFloat:
		_, h := in.it.AtFloatHistogram(nil)
		if !value.IsStaleNaN(h.Sum) || value.IsStaleNaN(m.v) {
			m.take(i)
		}
	default:
		_, a := m.ins[m.cur].it.AtFloatHistogram(nil)
		_, b := in.it.AtFloatHistogram(nil)
		c := compareHistograms(a, b)
		if c < 0 || c == 0 && in.vt == chunkenc.ValHistogram {
			m.take(i)
		}
	}
}

func (m *merged) At() (int64, float64) { return m.t, m.v }
func (m *merged) AtT() int64           { return m.t }
func (m *merged) AtST() int64          { return 0 }
func (m *merged) Err() error           { return m.err }

func (m *merged) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	t, h := m.ins[m.cur].it.AtHistogram(h)
	if m.cur != m.last && h.CounterResetHint == histogram.NotCounterReset {
		h.CounterResetHint = histogram.UnknownCounterReset
	}
	return t, h
}

func (m *merged) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	t, h := m.ins[m.cur].it.AtFloatHistogram(h)
	if m.cur != m.last && h.CounterResetHint == histogram.NotCounterReset {
		h.CounterResetHint = histogram.UnknownCounterReset
	}
	return t, h
}
