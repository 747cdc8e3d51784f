package contest

import (
	"fmt"
	"strconv"
)

// Unit is what a figure counts.
type Unit string

// The units of figures.
const (
	Seconds Unit = "s"
	Millis  Unit = "ms"
	MiB     Unit = "MiB"
	Bytes   Unit = "B"
	Count   Unit = ""
	Times   Unit = "×"
)

// A Goal is the most that a figure of MiniTrue may be; of one where more is better, the least.
type Goal struct {
	Limit float64 `json:"limit"`
	Of    string  `json:"of,omitempty"` // the rival whose figure it is a multiple of; "" means that it is absolute
}

// Figure is one row of the table.
type Figure struct {
	ID     string             `json:"id"`
	Name   string             `json:"name"`
	Unit   Unit               `json:"unit"`
	More   bool               `json:"more_is_better,omitempty"`
	Goal   *Goal              `json:"goal,omitempty"`
	Values map[string]float64 `json:"values"` // by the name of the rival
	P99    map[string]float64 `json:"p99,omitempty"`
}

// AtMost and AtMostOf make goals.
func AtMost(limit float64) *Goal              { return &Goal{Limit: limit} }
func AtMostOf(limit float64, of string) *Goal { return &Goal{limit, of} }

// Ratio is MiniTrue's figure over that of the better of the others.
func (f Figure) Ratio() (ratio float64, ok bool) {
	own, ok := f.Values[MiniTrue]
	if !ok {
		return 0, false
	}
	best, found := 0.0, false
	for name, v := range f.Values {
		if name != MiniTrue && (!found || f.More == (v > best)) {
			best, found = v, true
		}
	}
	if !found || best == 0 {
		return 0, false
	}
	return own / best, true
}

// Met says whether MiniTrue reaches the goal; ok is false when that cannot be said.
func (f Figure) Met() (met, ok bool) {
	own, ok := f.Values[MiniTrue]
	if f.Goal == nil || !ok {
		return false, false
	}
	limit := f.Goal.Limit
	if f.Goal.Of != "" {
		other, ok := f.Values[f.Goal.Of]
		if !ok {
			return false, false
		}
		limit *= other
	}
	if f.More {
		return own >= limit, true
	}
	return own <= limit, true
}

// format prints a value with as many digits as mean something.
func (u Unit) format(v float64) string {
	switch {
	case u == Count && v == float64(int64(v)):
		return group(int64(v))
	case u == MiB && v >= 10:
		return strconv.FormatFloat(v, 'f', 0, 64) + " MiB"
	case u == Count:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	digits := 3
	switch {
	case v >= 100:
		digits = 0
	case v >= 10:
		digits = 1
	case v >= 1:
		digits = 2
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + string(u)
}

// group puts commas between thousands.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (f Figure) goal(title func(name string) string) string {
	if f.Goal == nil {
		return ""
	}
	sign := "≤"
	if f.More {
		sign = "≥"
	}
	if f.Goal.Of == "" {
		return fmt.Sprintf("%s %s", sign, f.Unit.format(f.Goal.Limit))
	}
	return fmt.Sprintf("%s %v × %s", sign, f.Goal.Limit, title(f.Goal.Of))
}
