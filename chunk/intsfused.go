package chunk

import "unsafe"

// integersIn is the memory of v as integers.
func integersIn(v []float64) []int64 {
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// decimals decodes the plain column of a sensor's decimals in one pass.
func (c *intColumn) decimals(v []float64, x int64, p float64) {
	v[0] = float64(x) / p
	v = v[1:]
	base, step := c.base*c.step, c.step
	if c.size == 256 {
		s := c.symbols[:len(v)]
		for i, b := range s {
			x += int64(b)*step + base
			v[i] = float64(x) / p
		}
		return
	}
	table, s := &digits[c.size], c.symbols
	switch perByte(c.size) {
	case 2:
		for ; len(v) >= 2 && len(s) > 0; v, s = v[2:], s[1:] {
			w := table[s[0]]
			a := x + int64(w&0xff)*step + base
			x = a + int64(w>>8)*step + base
			v[0], v[1] = float64(a)/p, float64(x)/p
		}
	case 3:
		for ; len(v) >= 3 && len(s) > 0; v, s = v[3:], s[1:] {
			w := table[s[0]]
			a := x + int64(w&0xff)*step + base
			b := a + int64(w>>8&0xff)*step + base
			x = b + int64(w>>16)*step + base
			v[0], v[1], v[2] = float64(a)/p, float64(b)/p, float64(x)/p
		}
	case 5:
		for ; len(v) >= 5 && len(s) > 0; v, s = v[5:], s[1:] {
			w := table[s[0]]
			a := x + int64(w&0xff)*step + base
			b := a + int64(w>>8&0xff)*step + base
			d := b + int64(w>>16&0xff)*step + base
			e := d + int64(w>>24&0xff)*step + base
			x = e + int64(w>>32)*step + base
			v[0], v[1], v[2], v[3], v[4] = float64(a)/p, float64(b)/p, float64(d)/p, float64(e)/p, float64(x)/p
		}
	}
	var w uint64
	for i, left := 0, 0; i < len(v); i++ {
		if left == 0 {
			w, s, left = table[s[0]], s[1:], perByte(c.size)
		}
		x += int64(w&0xff)*step + base
		w >>= 8
		left--
		v[i] = float64(x) / p
	}
}
