package quiz

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// Quiz says what is made up.
type Quiz struct {
	*rand.Rand
	Start, Span int64 // ms, of the samples
	Devices     int   // at least, of each metric; 0 means 5 to 10

	// Orderless leaves out what depends on the order in which series come: numbers whose sums overflow or not, and topk of equal values.
	Orderless bool
}

// Names are those of the metrics.
var Names = []string{"requests_total", "celsius", "drift", "odd_total"}

// Spiky is a metric of small numbers among which are a few that are much larger, as broken sensors send them. What is left of a sum of such
// depends on its order.
const Spiky = "flags_total"

// Sensor is a series of random character.
type Sensor struct {
	Labels labels.Labels

	step  int64
	value func(i int) float64
	from  int64
	until int64 // it is silent from then on
	late  bool
	gap   float64 // probability that one begins
	stale bool    // a gap begins with a stale marker
	odd   float64 // probability of a number that is none
}

// Sensors are series of a few metrics. Names differ with the same labels, and labels are missing.
func (q Quiz) Sensors() []Sensor {
	var all []Sensor
	names := Names
	if !q.Orderless {
		names = append(slices.Clone(names), Spiky)
	}
	for _, name := range names {
		devices := q.Devices
		if devices == 0 {
			devices = 5 + q.IntN(6)
		}
		for k := range devices {
			all = append(all, q.sensor(name, k))
		}
	}
	return all
}

func (q Quiz) sensor(name string, k int) Sensor {
	b := labels.NewBuilder(labels.FromStrings("__name__", name, "device_id", fmt.Sprint("d", k), "site", string(rune('a'+k%3))))
	if q.IntN(4) == 0 {
		b.Set("rack", fmt.Sprint(q.IntN(2)))
	}
	if q.IntN(12) == 0 {
		b.Set("__type__", "gauge")
	}
	s := Sensor{Labels: b.Labels(), step: []int64{5000, 10_000, 15_000, 61_000}[q.IntN(4)], from: q.Start + q.Int64N(3)*q.Int64N(q.Span/3), late: q.IntN(4) == 0, stale: q.IntN(2) == 0}
	s.until = q.Start + q.Span
	if q.IntN(3) == 0 { // enough of these make a store begin a new registry
		s.until -= q.Int64N(q.Span)
	}
	s.gap = []float64{0, 0, 0.002, 0.02}[q.IntN(4)]
	base, sum := q.Float64()*1000, 0.0
	switch name {
	case "celsius":
		s.value = func(i int) float64 { return math.Round(base+100*math.Sin(float64(i)/50)) / 10 }
	case Spiky:
		often := 2 + q.IntN(200)
		s.value = func(int) float64 {
			if q.IntN(often) == 0 {
				return []float64{-math.MaxFloat32, -math.MaxFloat32, 1e38, 6.02e23, 1e100}[q.IntN(5)]
			}
			return float64(q.IntN(10)) / 10
		}
	case "drift":
		s.value = func(int) float64 { return q.NormFloat64() * 1e3 }
	default:
		s.value = func(int) float64 {
			if sum += math.Floor(q.ExpFloat64() * 10); q.IntN(300) == 0 {
				sum = float64(q.IntN(3))
			}
			return sum
		}
	}
	if name == "odd_total" {
		s.odd = 0.01
	}
	return s
}

// Samples yields what a sensor measures. Part numbers the fifths of the span; a sample that comes late belongs to the part behind its own.
func (q Quiz) Samples(s *Sensor, yield func(part int, t int64, v float64)) {
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 5e-324, math.Copysign(0, -1), 0, 1.7e308, -1.7e308}
	if q.Orderless {
		odd = odd[:6]
	}
	one := func(t int64, v float64) {
		part := int(4 * min(t-q.Start, q.Span) / (q.Span + 1)) // a moved sample may be newer than the span
		if s.late && q.IntN(20) == 0 {
			part++
		}
		yield(part, t, v)
	}
	i := 0
	for t := s.from; t < s.until; t += s.step {
		at := t
		if q.IntN(10) == 0 {
			at += q.Int64N(s.step / 2)
		}
		switch v := s.value(i); {
		case q.Float64() < s.gap:
			if s.stale {
				one(at, math.Float64frombits(value.StaleNaN))
			}
			t += q.Int64N(20 * 60 * 1000)
		case q.Float64() < s.odd:
			one(at, odd[q.IntN(len(odd))])
		default:
			one(at, v)
		}
		i++
	}
}

// Parts is how many parts the samples come in.
const Parts = 5
