package quiz

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A sample near the end that is both moved and late belongs to a part that there is.
func TestSamplesComeInParts(t *testing.T) {
	for seed := range uint64(300) {
		q := Quiz{Rand: rand.New(rand.NewPCG(seed, 1)), Span: time.Hour.Milliseconds(), Devices: 20}
		for _, s := range q.Sensors() {
			q.Samples(&s, func(part int, at int64, _ float64) {
				if part < 0 || part >= Parts {
					t.Fatalf("seed %d: a sample at %d of %d ms comes in part %d of %d", seed, at, q.Span, part, Parts)
				}
			})
		}
	}
}
