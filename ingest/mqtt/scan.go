package mqtt

import (
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// fast reads the usual shapes: an object or an array of objects whose names are
// strings without escapes and whose timestamp and value are numbers, or a plain
// number. It returns false for all else, and then what it has added is worthless.
// What it accepts it reads exactly as slow does; a fuzz test holds it to that.
func (p *parsed) fast(at place, b []byte, now int64) bool {
	if !utf8.Valid(b) {
		return false
	}
	p.most = mostKeys(b)
	i := space(b, 0)
	if i == len(b) {
		return false
	}
	var ok bool
	switch b[i] {
	case '{':
		i, ok = p.fastObject(at, b, i, now)
	case '[':
		i, ok = p.fastArray(at, b, i, now)
	default:
		i, ok = p.fastPlain(at, b, i, now)
	}
	return ok && space(b, i) == len(b)
}

func (p *parsed) fastPlain(at place, b []byte, i int, now int64) (int, bool) {
	end, _ := numberEnd(b, i)
	if end < 0 || at.device == "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(view(b[i:end]), 64)
	return end, err == nil && p.fastAdd(at.metric, at.device, now, v)
}

func (p *parsed) fastArray(at place, b []byte, i int, now int64) (int, bool) {
	for {
		i = space(b, i+1) // after [ or ,
		if i == len(b) || b[i] != '{' {
			return 0, false
		}
		var ok bool
		if i, ok = p.fastObject(at, b, i, now); !ok {
			return 0, false
		}
		if i = space(b, i); i == len(b) {
			return 0, false
		}
		switch b[i] {
		case ',':
		case ']':
			return i + 1, true
		default:
			return 0, false
		}
	}
}

const ( // fields that an object has shown
	hasMetric = 1 << iota
	hasDevice
	hasTime
	hasValue
)

// fastObject reads an object at i and returns where it ends.
func (p *parsed) fastObject(at place, b []byte, i int, now int64) (int, bool) {
	metric, device, t, v := at.metric, at.device, now, 0.0
	seen := 0
	for {
		i = space(b, i+1) // after { or ,
		name, next, ok := stringAt(b, i)
		if !ok {
			return 0, false
		}
		if i = space(b, next); i == len(b) || b[i] != ':' {
			return 0, false
		}
		i = space(b, i+1)
		field := 0
		switch name {
		case "metric_name":
			field = hasMetric
			metric, i, ok = stringAt(b, i)
			ok = ok && metric != ""
		case "device_id":
			field = hasDevice
			device, i, ok = stringAt(b, i)
		case "timestamp":
			field = hasTime
			t, i, ok = timeAt(b, i)
		case "value":
			field = hasValue
			v, i, ok = numberAt(b, i)
		default:
			i, ok = skip(b, i)
		}
		if !ok || seen&field != 0 {
			return 0, false
		}
		seen |= field
		if i = space(b, i); i == len(b) {
			return 0, false
		}
		switch b[i] {
		case ',':
		case '}':
			return i + 1, seen&hasValue != 0 && p.fastAdd(metric, device, t, v)
		default:
			return 0, false
		}
	}
}

func (p *parsed) fastAdd(metric, device string, t int64, v float64) bool {
	if device == "" || len(metric) > maxName || len(device) > maxName || !utf8.ValidString(metric) || !utf8.ValidString(device) || !p.fits(metric, device) {
		return false
	}
	p.add(metric, device, t, v)
	return true
}

// space returns the first index from i on that is no white space of JSON.
func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// stringAt reads a string without escapes at i. It aliases b.
func stringAt(b []byte, i int) (s string, next int, ok bool) {
	if i >= len(b) || b[i] != '"' {
		return "", 0, false
	}
	for j := i + 1; j < len(b); j++ {
		switch c := b[j]; {
		case c == '"':
			return view(b[i+1 : j]), j + 1, true
		case c == '\\' || c < ' ':
			return "", 0, false
		}
	}
	return "", 0, false
}

func numberAt(b []byte, i int) (v float64, next int, ok bool) {
	end, _ := numberEnd(b, i)
	if end < 0 {
		return 0, 0, false
	}
	v, err := strconv.ParseFloat(view(b[i:end]), 64)
	return v, end, err == nil
}

func timeAt(b []byte, i int) (t int64, next int, ok bool) {
	end, integer := numberEnd(b, i)
	if end < 0 {
		return 0, 0, false
	}
	if integer && end-i <= 18 && b[i] != '-' { // fits an int64
		var n int64
		for _, c := range b[i:end] {
			n = n*10 + int64(c-'0')
		}
		return unixInteger(n), end, true
	}
	t, ok = unixTime(view(b[i:end]), integer)
	return t, end, ok
}

// skip passes over a string, a number or a literal at i.
func skip(b []byte, i int) (int, bool) {
	if i >= len(b) {
		return 0, false
	}
	switch b[i] {
	case '"':
		_, next, ok := stringAt(b, i)
		return next, ok
	case 't', 'n', 'f':
		for _, s := range [...]string{"true", "null", "false"} {
			if len(b)-i >= len(s) && string(b[i:i+len(s)]) == s {
				return i + len(s), true
			}
		}
		return 0, false
	}
	end, _ := numberEnd(b, i)
	return end, end >= 0
}

// numberEnd returns where the JSON number at i ends, or -1, and whether it has
// neither fraction nor exponent.
func numberEnd(b []byte, i int) (end int, integer bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b) || b[i] < '0' || b[i] > '9':
		return -1, false
	case b[i] == '0':
		i++
	default:
		i = digits(b, i)
	}
	integer = true
	if i < len(b) && b[i] == '.' {
		j := digits(b, i+1)
		if j == i+1 {
			return -1, false
		}
		i, integer = j, false
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		j := digits(b, i)
		if j == i {
			return -1, false
		}
		i, integer = j, false
	}
	return i, integer
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// view is b as a string without a copy, valid as long as b is not written.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
