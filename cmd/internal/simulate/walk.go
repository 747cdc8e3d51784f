package simulate

import (
	"math/rand/v2"
	"strconv"
)

// kind is how a metric behaves, in units of its last decimal.
type kind struct {
	min, max int
	step     int // the largest change between two readings
	decimals int
}

func kindOf(metric string) kind {
	switch metric {
	case "temperature":
		return kind{150, 320, 3, 1}
	case "humidity":
		return kind{250, 850, 5, 1}
	case "pressure":
		return kind{9850, 10350, 2, 1}
	}
	return kind{0, 1000, 10, 1}
}

// walk is a random walk of one sensor.
type walk struct {
	kind
	now int
}

// newWalk starts in the middle third of the range, where sensors mostly are.
func newWalk(metric string, rnd *rand.Rand) walk {
	k := kindOf(metric)
	third := (k.max - k.min) / 3
	return walk{k, k.min + third + rnd.IntN(third)}
}

// next appends the next reading in decimal form.
func (w *walk) next(dst []byte, rnd *rand.Rand) []byte {
	d := rnd.IntN(2*w.step+1) - w.step
	if n := w.now + d; n < w.min || n > w.max {
		d = -d
	}
	w.now += d
	scale := 1.0
	for range w.decimals {
		scale *= 10
	}
	return strconv.AppendFloat(dst, float64(w.now)/scale, 'f', w.decimals, 64)
}
