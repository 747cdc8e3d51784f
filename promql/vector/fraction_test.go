package vector

import (
	"testing"
	"time"
)

// Ranges and offsets may be fractions of a millisecond, of which the engine adds some up before it cuts them off.
func TestFractionsOfMilliseconds(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[i] = 1e6 + float64(i*i)
	}
	s := storeOf(t, false, map[string][]float64{"m_total": values})
	below := newProm(1000)
	for _, text := range []string{
		"rate(m_total[100.0005] offset 0.0005)", "increase(m_total[99.9995] offset -0.0005)", "m_total @ 1700000150 offset -0.0005",
		"sum(m_total @ 1700000149.999 offset -0.0005)", "delta(m_total[60.0009] @ 1700000150 offset -7.0009)", "m_total offset -0.0009", "max_over_time(m_total[15.0009] offset 0.0009)",
	} {
		for _, at := range []int64{0, 1, 100_000, 300_000, 300_001, 314_999, 600_000} {
			q := question{text: text, start: time.UnixMilli(dataStart + at), end: time.UnixMilli(dataStart + at)}
			if err := differ(q, q.ask(t, New(below, s, Options{}), s), q.ask(t, below, s)); err != nil {
				t.Errorf("%s at %d: %v", text, at, err)
			}
		}
	}
}
