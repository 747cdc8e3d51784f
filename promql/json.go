package promql

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/hot"
)

const flushSize = 64 << 10 // bytes that an encoder collects before it writes

// encoder writes JSON as it goes, so that a result of millions of points is never
// in memory as text. The first error of its writer stops it.
type encoder struct {
	buf   []byte
	w     io.Writer
	err   error
	texts *hot.Table[labelsText]
}

// encoders keeps encoders, for their buffers, from one answer to the next.
type encoders struct {
	pool  sync.Pool
	texts *hot.Table[labelsText] // by the hash of the labels
}

// labelsText is the JSON of labels that are answered again and again.
type labelsText struct {
	labels labels.Labels
	text   []byte
}

const hotTexts = 1 << 20 // bytes of them, and of the labels

func newEncoders() *encoders { return &encoders{texts: hot.NewTable[labelsText](12, hotTexts)} }

func (p *encoders) get(w io.Writer) *encoder {
	e, ok := p.pool.Get().(*encoder)
	if !ok {
		e = &encoder{texts: p.texts, buf: make([]byte, 0, flushSize+8<<10)}
	}
	e.buf, e.w, e.err = e.buf[:0], w, nil
	return e
}

func (p *encoders) put(e *encoder) {
	e.w = nil
	if cap(e.buf) <= 1<<20 {
		p.pool.Put(e)
	}
}

// spill writes what is collected when it is enough.
func (e *encoder) spill() {
	if len(e.buf) >= flushSize {
		e.flush()
	}
}

func (e *encoder) flush() {
	if e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

func (e *encoder) raw(s string)    { e.buf = append(e.buf, s...) }
func (e *encoder) string(s string) { e.buf = appendString(e.buf, s); e.spill() }

func (e *encoder) strings(list []string) {
	e.raw("[")
	for i, s := range list {
		if i > 0 {
			e.raw(",")
		}
		e.string(s)
	}
	e.raw("]")
}

// jsonReply is for answers that are small or made of plain structs.
func jsonReply(v any) (reply, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return reply{}, &apiError{typ: errInternal, err: err}
	}
	return reply{data: func(e *encoder) { e.buf = append(e.buf, b...) }}, nil
}

const hex = "0123456789abcdef"

// appendString appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, s[from:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, "\ufffd"...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// appendTime appends milliseconds as seconds, with as many decimals as needed.
func appendTime(b []byte, t int64) []byte {
	u := uint64(t)
	if t < 0 {
		b = append(b, '-')
		u = -u
	}
	b = strconv.AppendUint(b, u/1000, 10)
	if ms := u % 1000; ms != 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return b
}

// appendFloat appends the shortest decimal that reads back as the same bits,
// with an exponent where Prometheus writes one.
func appendFloat(b []byte, f float64) []byte {
	if b, ok := appendDecimal(b, f); ok {
		return b
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}

// appendDecimal is the short way for numbers with at most 15 digits, of them at most four
// decimals: what sensors measure, and counters. Two such decimals are never the same float, so that
// the one whose quotient gives f back is the shortest text of f.
func appendDecimal(b []byte, f float64) ([]byte, bool) {
	if !(f > -1e11 && f < 1e11) || f == 0 && math.Signbit(f) {
		return b, false
	}
	switch n := int64(math.Round(f * 1e4)); {
	case float64(int64(f)) == f:
		return strconv.AppendInt(b, int64(f), 10), true
	case float64(n)/1e4 != f:
		return b, false
	default:
		if n < 0 {
			b = append(b, '-')
			n = -n
		}
		b = append(strconv.AppendUint(b, uint64(n)/1e4, 10), '.')
		frac := uint64(n) % 1e4
		b = append(b, byte('0'+frac/1000), byte('0'+frac/100%10), byte('0'+frac/10%10), byte('0'+frac%10))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
		return b, true
	}
}

func appendQuoted(b []byte, f float64) []byte {
	return append(appendFloat(append(b, '"'), f), '"')
}

// labels writes labels that may be answered again.
func (e *encoder) labels(ls labels.Labels) {
	key := ls.Hash()
	if x, ok := e.texts.Get(key); ok && labels.Equal(x.labels, ls) {
		e.buf = append(e.buf, x.text...)
		return
	}
	from := len(e.buf)
	e.buf = appendLabels(e.buf, ls)
	if e.texts.Due(key) {
		x := labelsText{ls.Copy(), bytes.Clone(e.buf[from:])}
		e.texts.Put(key, x, int64(ls.ByteSize())+int64(len(x.text)))
	}
}

func appendLabels(b []byte, ls labels.Labels) []byte {
	b = append(b, '{')
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, l.Name)
		b = append(b, ':')
		b = appendString(b, l.Value)
	})
	return append(b, '}')
}

// appendHistogram appends count, sum and the buckets that are not empty. A bucket begins
// with what its boundaries include: 0 the upper, 1 the lower, 2 neither, 3 both.
func appendHistogram(b []byte, h *histogram.FloatHistogram) []byte {
	b = appendQuoted(append(b, `{"count":`...), h.Count)
	b = appendQuoted(append(b, `,"sum":`...), h.Sum)
	open := `,"buckets":[`
	for it := h.AllBucketIterator(); it.Next(); {
		k := it.At()
		if k.Count == 0 {
			continue
		}
		b = append(b, open...)
		open = ","
		bounds := byte('2')
		switch {
		case k.LowerInclusive && k.UpperInclusive:
			bounds = '3'
		case k.LowerInclusive:
			bounds = '1'
		case k.UpperInclusive:
			bounds = '0'
		}
		b = append(b, '[', bounds, ',')
		b = append(appendQuoted(b, k.Lower), ',')
		b = append(appendQuoted(b, k.Upper), ',')
		b = append(appendQuoted(b, k.Count), ']')
	}
	if open == "," {
		b = append(b, ']')
	}
	return append(b, '}')
}
