package chunk

import "math"

// decodeValues decodes a column into v.
func decodeValues(v []float64, b []byte, first float64) bool {
	f, flags, size, b, ok := form(b)
	if !ok {
		return false
	}
	c, ok := parseInts(b, flags, size, len(v)-1)
	if !ok || c.flags&flagPatches == 0 && len(c.rest) > 0 {
		return false
	}
	x0 := c.first
	if c.flags&flagFirst == 0 {
		if x0, ok = f.first(first); !ok {
			return false
		}
	}
	if f.kind == kindDecimal && c.plain() {
		e, ok := c.expand(len(v) - 1)
		if ok {
			c.decimals(v, x0, pow10[f.arg])
		}
		e.release()
		if !ok {
			return false
		}
	} else {
		x := integersIn(v)
		if !c.decode(x, x0) {
			return false
		}
		f.floats(v, x)
	}
	return c.flags&flagPatches == 0 || applyPatches(v, c.rest)
}

// floats makes values of integers, which may lie in the same memory.
func (f valueForm) floats(v []float64, x []int64) {
	x = x[:len(v)]
	switch f.kind {
	case kindBits:
		for i, k := range x {
			v[i] = math.Float64frombits(uint64(k) << f.arg)
		}
	case kindDecimal:
		p := pow10[f.arg]
		for i, k := range x {
			v[i] = float64(k) / p
		}
	default:
		p := pow10[f.arg]
		for i, k := range x {
			v[i] = float64(float32(float64(k) / p))
		}
	}
}

func applyPatches(v []float64, b []byte) bool {
	r := varints{b: b}
	at := uint64(0)
	for len(r.b) > 0 {
		at += r.unsigned()
		d := r.unsigned()
		if r.broken || at >= uint64(len(v)) {
			return false
		}
		v[at] = patched(v[at], d)
		at++
	}
	return true
}
