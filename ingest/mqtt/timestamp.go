package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// timeField reads a timestamp field: milliseconds, or now when there is none.
func timeField(raw json.RawMessage, now int64) (int64, error) {
	if absent(raw) {
		return now, nil
	}
	s := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &s); err != nil {
			return 0, err
		}
	} else if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return 0, fmt.Errorf("%.32s is neither a number nor a string", raw)
	}
	end, integer := numberEnd([]byte(s), 0)
	if s != "" && end == len(s) {
		if t, ok := unixTime(s, integer); ok {
			return t, nil
		}
		return 0, fmt.Errorf("%.32s is out of range", s)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, fmt.Errorf("%.48q is neither a number nor a time of RFC 3339", s)
	}
	return t.Add(time.Millisecond / 2).UnixMilli(), nil
}

// unixTime reads a number whose size tells its unit, to milliseconds, rounded.
func unixTime(s string, integer bool) (int64, bool) {
	if integer {
		n, err := strconv.ParseInt(s, 10, 64)
		if err == nil {
			return unixInteger(n), true
		}
		if !errors.Is(err, strconv.ErrRange) {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, false
	}
	switch a := math.Abs(f); {
	case a < 1e11:
		f *= 1e3
	case a < 1e14:
	case a < 1e17:
		f /= 1e3
	default:
		f /= 1e6
	}
	f = math.Floor(f + 0.5)
	if math.Abs(f) > 1<<62 {
		return 0, false
	}
	return int64(f), true
}

func unixInteger(n int64) int64 {
	switch {
	case n > -1e11 && n < 1e11:
		return n * 1000
	case n > -1e14 && n < 1e14:
		return n
	case n > -1e17 && n < 1e17:
		return roundDiv(n, 1e3)
	}
	return roundDiv(n, 1e6)
}

// roundDiv is n/d rounded to the nearest, halves up. It does not overflow.
func roundDiv(n, d int64) int64 {
	q, r := n/d, n%d
	if r < 0 {
		q, r = q-1, r+d
	}
	if 2*r >= d {
		q++
	}
	return q
}
