package vector

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/appender"
)

// scanner adapts a store.
type scanner struct{ *store.Store }

func (s scanner) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := s.Store.Scan(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return sel, nil
}

const (
	dataStart = int64(1_700_000_000_000) // ms
	dataSpan  = int64(5 * 60 * 60 * 1000)
)

// sensor is a series of random character.
type sensor struct {
	ls    labels.Labels
	step  int64
	value func(i int) float64
	from  int64
	until int64 // it is silent from then on
	late  bool
	gap   float64 // probability that one begins
	stale bool    // a gap begins with a stale marker
	odd   float64 // probability of a number that is none
}

// sensors are series of a few metrics. Names differ with the same labels, and labels are missing.
func sensors(r *rand.Rand) []sensor {
	var all []sensor
	for _, name := range []string{"requests_total", "temperature", "drift", "odd_total"} {
		for k := range 5 + r.IntN(6) {
			b := labels.NewBuilder(labels.FromStrings("__name__", name, "device", fmt.Sprint("d", k), "site", string(rune('a'+k%3))))
			if r.IntN(4) == 0 {
				b.Set("rack", fmt.Sprint(r.IntN(2)))
			}
			if r.IntN(12) == 0 {
				b.Set("__type__", "gauge")
			}
			s := sensor{ls: b.Labels(), step: []int64{5000, 10_000, 15_000, 61_000}[r.IntN(4)], from: dataStart + r.Int64N(3)*r.Int64N(dataSpan/3), late: r.IntN(4) == 0, stale: r.IntN(2) == 0}
			s.until = dataStart + dataSpan
			if r.IntN(3) == 0 { // enough of these make the store begin a new registry
				s.until -= r.Int64N(dataSpan)
			}
			s.gap = []float64{0, 0, 0.002, 0.02}[r.IntN(4)]
			base, sum := r.Float64()*1000, 0.0
			switch name {
			case "temperature":
				s.value = func(i int) float64 { return math.Round(base+100*math.Sin(float64(i)/50)) / 10 }
			case "drift":
				s.value = func(int) float64 { return r.NormFloat64() * 1e3 }
			default:
				s.value = func(int) float64 {
					if sum += math.Floor(r.ExpFloat64() * 10); r.IntN(300) == 0 {
						sum = float64(r.IntN(3))
					}
					return sum
				}
			}
			if name == "odd_total" {
				s.odd = 0.01
			}
			all = append(all, s)
		}
	}
	return all
}

// samples yields what a sensor measures.
func (s *sensor) samples(r *rand.Rand, yield func(t int64, v float64)) {
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1.7e308, -1.7e308, 5e-324, math.Copysign(0, -1), 0}
	i := 0
	for t := s.from; t < s.until; t += s.step {
		at := t
		if r.IntN(10) == 0 {
			at += r.Int64N(s.step / 2)
		}
		switch v := s.value(i); {
		case r.Float64() < s.gap:
			if s.stale {
				yield(at, math.Float64frombits(value.StaleNaN))
			}
			t += r.Int64N(20 * 60 * 1000)
		case r.Float64() < s.odd:
			yield(at, odd[r.IntN(len(odd))])
		default:
			yield(at, v)
		}
		i++
	}
}

// randomStore holds the samples of sensors in blocks and in memory, some of them late and overlapping, and some deleted.
func randomStore(t testing.TB, r *rand.Rand) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	type point struct {
		ls labels.Labels
		t  int64
		v  float64
	}
	parts := make([][]point, 5) // written one after the other
	for _, c := range sensors(r) {
		c.samples(r, func(at int64, v float64) {
			k := int(4 * (at - dataStart) / (dataSpan + 1))
			if c.late && r.IntN(20) == 0 {
				k++
			}
			parts[k] = append(parts[k], point{c.ls, at, v})
		})
	}
	for i, part := range parts {
		app := appender.New(s).Appender(t.Context())
		var ref storage.SeriesRef
		for _, p := range part {
			if _, err := app.Append(ref, p.ls, p.t, p.v); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
		if i < 3 && r.IntN(3) > 0 {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(3) == 0 {
			from := dataStart + r.Int64N(dataSpan)
			which := labels.MustNewMatcher(labels.MatchRegexp, "device", []string{"d0", "d[1-3]", ".+"}[r.IntN(3)])
			if _, err := s.Delete(t.Context(), from, from+r.Int64N(2*3600*1000), which); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r.IntN(2) == 0 {
		if err := s.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
