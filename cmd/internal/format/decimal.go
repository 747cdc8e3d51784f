package format

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// decimal reads a decimal number times a power of ten, rounded to the nearest integer, exactly: a float64 would not hold
// the milliseconds of a time in seconds.
func decimal(s string, shift int) (int64, error) {
	bad := fmt.Errorf("time %.60q is not a number in the range of milliseconds", s)
	rest := strings.TrimPrefix(s, "-")
	digits, frac, _ := strings.Cut(rest, ".")
	if n := len(digits) + len(frac); n == 0 || n > 40 || strings.Trim(digits+frac, "0123456789") != "" {
		return scientific(s, shift, bad)
	}
	// Move the point, cut, and round by the first digit that is cut.
	all := digits + frac
	point := len(digits) + shift
	switch {
	case point <= 0:
		all, point = strings.Repeat("0", 1-point)+all, 1
	case point > len(all):
		all += strings.Repeat("0", point-len(all))
	}
	var n uint64
	for _, c := range all[:point] {
		if n > (math.MaxUint64-9)/10 {
			return 0, bad
		}
		n = 10*n + uint64(c-'0')
	}
	if point < len(all) && all[point] >= '5' {
		n++
	}
	if s != rest {
		if n > 1<<63 {
			return 0, bad
		}
		return -int64(n), nil
	}
	if n > math.MaxInt64 {
		return 0, bad
	}
	return int64(n), nil
}

// scientific reads what has an exponent.
func scientific(s string, shift int, bad error) (int64, error) {
	if len(s) > 60 {
		return 0, bad
	}
	f, _, err := big.ParseFloat(s, 10, 256, big.ToNearestEven)
	if err != nil || f.IsInf() || f.MantExp(nil) > 200 || f.MantExp(nil) < -1000 {
		return 0, bad
	}
	ten := big.NewFloat(10).SetPrec(256)
	for ; shift > 0; shift-- {
		f.Mul(f, ten)
	}
	for ; shift < 0; shift++ {
		f.Quo(f, ten)
	}
	half := big.NewFloat(0.5)
	if f.Signbit() {
		half.Neg(half)
	}
	n, _ := f.Add(f, half).Int(nil)
	if !n.IsInt64() {
		return 0, bad
	}
	return n.Int64(), nil
}
