package vector

import (
	"fmt"
	"testing"
	"time"
)

// What an operand held while it was evaluated is not held while the next one is.
func TestLimitIsOfWhatIsHeld(t *testing.T) {
	values := map[string][]float64{}
	for i := range 10 {
		values[fmt.Sprint("m", i)] = make([]float64, 400)
	}
	s := storeOf(t, false, values)
	below := newProm(3000)
	for _, text := range []string{
		`sum({__name__=~"m.+"}) + sum({__name__=~"m.+"}) + max({__name__=~"m.+"})`,
		`quantile(0.5, max by (device_id) (max_over_time({__name__="m1"}[5m]))) + sum({__name__=~"m.+"}) + sum({__name__=~"m.+"})`,
	} {
		q := question{text: text, start: time.UnixMilli(dataStart), end: time.UnixMilli(dataStart + 200*15_000), step: 15 * time.Second}
		if err := differ(q, q.ask(t, New(below, s, Options{MaxSamples: 3000}), s), q.ask(t, below, s)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
