package chunk

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// How values become integers; in files.
const (
	kindBits    = iota // their bits, shifted right
	kindDecimal        // i / 10^e
	kindFloat32        // i / 10^e, rounded to float32
	kindShort          // i / 10^e in a column of deltas without flags, all in this byte
)

const (
	maxExponent = 22      // the greatest power of ten that a float64 holds exactly
	maxScaled   = 1 << 51 // integers below are exact, and so is what rounds to them
)

var pow10 = [maxExponent + 1]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// scale returns the integer next to v × p. The conversion forbids to fuse what is rounded twice.
func scale(v, p float64) (int64, bool) {
	const magic = 3 << 51 // adding it leaves no bits for a fraction
	x := float64(v * p)
	if !(math.Abs(x) < maxScaled) {
		return 0, false
	}
	return int64(float64(x+magic) - magic), true
}

// unscale is the inverse: what defines the value.
func unscale(i int64, p float64, kind int) float64 {
	q := float64(i) / p
	if kind == kindFloat32 {
		return float64(float32(q))
	}
	return q
}

// patch is the difference of two floats' bits as a small number where they are neighbours or differ in sign.
func patch(want, have float64) uint64 {
	d := int64(bits.RotateLeft64(math.Float64bits(want)-math.Float64bits(have), 1))
	return uint64(d<<1 ^ d>>63)
}

func patched(have float64, patch uint64) float64 {
	d := patch>>1 ^ -(patch & 1)
	return math.Float64frombits(math.Float64bits(have) + bits.RotateLeft64(d, -1))
}

// A valueEncoder keeps the memory of encoding values.
type valueEncoder struct {
	ints    intEncoder
	x       []int64
	patches []byte
	trial   [2][]byte
}

// valueForm is a way to make integers of values.
type valueForm struct {
	kind, arg int // arg is the exponent, or how far bits are shifted
}

// append appends the column of values. first is Stats.First.
func (e *valueEncoder) append(buf []byte, v []float64, first float64) []byte {
	e.x = slices.Grow(e.x[:0], len(v))[:len(v)]
	var forms [3]valueForm
	best, least := 0, math.Inf(1)
	for _, f := range candidates(forms[:0], v) {
		t := 1 - best
		n := e.integers(v, f)
		var cost float64
		e.trial[t], cost = e.column(e.trial[t][:0], f, first)
		cost += float64(8 * len(e.patches))
		if cost < least {
			best, least = t, cost
		}
		if f.kind == kindDecimal && n == 0 {
			break // nothing else is as short
		}
	}
	return append(buf, e.trial[best]...)
}

// column appends the column of the integers made last.
func (e *valueEncoder) column(buf []byte, f valueForm, first float64) ([]byte, float64) {
	var flags byte
	var explicit []byte
	var room [binary.MaxVarintLen64]byte
	if x, ok := f.first(first); !ok || x != e.x[0] {
		flags |= flagFirst
		explicit = room[:binary.PutVarint(room[:], e.x[0])]
	}
	if len(e.patches) > 0 {
		flags |= flagPatches
	}
	at := len(buf)
	buf = append(buf, byte(f.kind|f.arg<<2))
	buf, cost := e.ints.append(buf, e.x, flags, explicit)
	if head, ok := short(f, buf[at+1], buf[at+2]); ok {
		buf[at] = head
		buf = append(buf[:at+1], buf[at+3:]...)
	}
	return append(buf, e.patches...), cost + float64(8*len(explicit))
}

// short returns the one byte for a form and the flags and size of its column, if there is one: of many short chunks,
// two bytes are a part that counts.
func short(f valueForm, flags, size byte) (byte, bool) {
	if f.kind != kindDecimal || f.arg > 3 || flags != 1 || size > sizeByte || size == 1 {
		return 0, false
	}
	if size == sizeByte {
		size = 1
	}
	return kindShort | byte(f.arg)<<2 | size<<4, true
}

// form is the inverse of the first byte of a column, and cuts off what is the form's.
func form(b []byte) (f valueForm, flags, size byte, rest []byte, ok bool) {
	if len(b) == 0 {
		return f, 0, 0, nil, false
	}
	f, b = valueForm{int(b[0] & 3), int(b[0] >> 2)}, b[1:]
	if f.kind == kindShort {
		if size = byte(f.arg >> 2); size == 1 {
			size = sizeByte
		}
		return valueForm{kindDecimal, f.arg & 3}, 1, size, b, true
	}
	if len(b) < 2 || f.kind != kindBits && f.arg > maxExponent {
		return f, 0, 0, nil, false
	}
	return f, b[0], b[1], b[2:], true
}

// first is the integer of a value that is known beside the column.
func (f valueForm) first(v float64) (int64, bool) {
	if f.kind == kindBits {
		return int64(math.Float64bits(v) >> f.arg), true
	}
	return scale(v, pow10[f.arg])
}

// integers makes x and patches, and returns how many these are.
func (e *valueEncoder) integers(v []float64, f valueForm) (n int) {
	e.patches = e.patches[:0]
	x := e.x
	if f.kind == kindBits {
		for i, v := range v {
			x[i] = int64(math.Float64bits(v) >> f.arg)
		}
		return 0
	}
	p := pow10[f.arg]
	last, prev := -1, int64(0)
	for _, v := range v {
		if i, ok := scale(v, p); ok {
			prev = i
			break
		}
	}
	for i, v := range v {
		k, ok := scale(v, p)
		if !ok {
			k = prev
		}
		x[i], prev = k, k
		if have := unscale(k, p, f.kind); math.Float64bits(have) != math.Float64bits(v) {
			e.patches = binary.AppendUvarint(e.patches, uint64(i-last-1))
			e.patches = binary.AppendUvarint(e.patches, patch(v, have))
			last = i
			n++
		}
	}
	return n
}

// candidates appends the forms that a sample of values speaks for, and last the one that all values have.
func candidates(forms []valueForm, v []float64) []valueForm {
	const most = 14 // decimals that a sensor's value has
	var exact, single [most + 2]int
	var zeros uint64
	for _, v := range v {
		zeros |= math.Float64bits(v)
	}
	n := min(len(v), 32)
	known := 0
	for i := range n {
		v := v[i*len(v)/n]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		known++
		exact[exponent(v, most, kindDecimal)]++
		if float64(float32(v)) == v {
			single[exponent(v, most, kindFloat32)]++
		}
	}
	if e, ok := covering(exact[:], known); ok {
		forms = append(forms, valueForm{kindDecimal, e})
	}
	if e, ok := covering(single[:], known); ok && (len(forms) == 0 || e < forms[0].arg) {
		forms = append(forms, valueForm{kindFloat32, e})
	}
	return append(forms, valueForm{kindBits, min(bits.TrailingZeros64(zeros), 63)})
}

// covering returns the fewest decimals that three of four values have.
func covering(count []int, all int) (int, bool) {
	sum := 0
	for e, n := range count[:len(count)-1] {
		if sum += n; sum > 0 && sum*4 >= all*3 {
			return e, true
		}
	}
	return 0, false
}

// exponent returns the fewest decimals up to most that a value has but for the last bits, as computing
// leaves them, and most + 1 for none.
func exponent(v float64, most, kind int) int {
	for e := range most + 1 {
		i, ok := scale(v, pow10[e])
		if !ok {
			break
		}
		if have := unscale(i, pow10[e], kind); patch(v, have) < 64 && (kind == kindDecimal || have == v) {
			return e
		}
	}
	return most + 1
}
