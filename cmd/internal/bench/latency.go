package bench

import (
	"slices"
	"time"
)

// Latency sums up how long requests took, in milliseconds.
type Latency struct {
	Min    float64 `json:"min_ms"`
	Median float64 `json:"median_ms"`
	P90    float64 `json:"p90_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

// summarize sorts the durations and picks the quantiles by nearest rank.
func summarize(ds []time.Duration) Latency {
	if len(ds) == 0 {
		return Latency{}
	}
	slices.Sort(ds)
	at := func(percent int) float64 {
		i := (len(ds)*percent+99)/100 - 1
		return millis(ds[max(i, 0)])
	}
	return Latency{Min: at(0), Median: at(50), P90: at(90), P99: at(99), Max: at(100)}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
