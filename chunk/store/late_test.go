package store

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// While twenty devices report, one comes back after nine hours and sends what it kept, newest first, and a year of
// another is filled in. All of it is there as soon as it is accepted, and in the end in few blocks, each of which holds its time.
func TestLateDataAndABackfill(t *testing.T) {
	const minute, hour, day = int64(60_000), int64(3_600_000), int64(24 * 3_600_000)
	w := newWorld(t, 1)
	w.o.Compact.Quiet = -time.Since(time.UnixMilli(0)) // blocks are named by the real clock, which is far ahead
	w.restart()
	name := func(i int) string { return fmt.Sprint("m", i) }
	write := func(i int, samples ...series.Sample) {
		t.Helper()
		b := one(name(i), samples...)
		for _, s := range samples {
			w.model.add(string(b.Series[0].Key), s.T, s.V)
		}
		if err := w.s.Append(t.Context(), b); err != nil || b.Rejected.Any() {
			t.Fatal(err, b.Rejected)
		}
	}
	there := func(i int) {
		t.Helper()
		key := one(name(i)).Series[0].Key
		got, err := w.s.Aggregate(t.Context(), math.MinInt64, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", name(i)))
		if want := len(w.model[string(key)]); err != nil || got.Count() != uint64(want) {
			t.Fatalf("%s has %d samples right after a write, want %d: %v", name(i), got.Count(), want, err)
		}
	}
	value := func() float64 { return float64(w.r.IntN(1000)) / 10 }
	const late, filled = 100, 101
	back := w.clock                        // the late device is there again
	sent, fill := int64(0), back-365*day-1 // how far it has got, into the past; how far the year
	for fill < back-day {
		w.pass(minute)
		for i := range 20 {
			write(i, series.Sample{T: w.clock - int64(i), V: value()})
		}
		there(w.r.IntN(20))
		if sent < 9*60 {
			for range 20 {
				write(late, series.Sample{T: back - sent*minute, V: value()})
				sent++
			}
			there(late)
		}
		var piece []series.Sample
		for range 200 {
			fill += 10 * minute
			piece = append(piece, series.Sample{T: fill, V: value()})
		}
		write(filled, piece...)
		there(filled)
		var err error
		switch w.r.IntN(12) {
		case 0:
			err = w.s.Flush(t.Context())
		case 1:
			err = w.s.Compact(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.pass(8 * hour)
	if err := w.s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(w.s.metas()); n > 24 {
		t.Errorf("%d blocks are left by themselves", n)
	}
	all := []*labels.Matcher{everything()}
	compareSamples(t, w.expect(0, math.MaxInt64, all), w.samples(0, math.MaxInt64, all))
	w.restart()
	if err := w.s.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	compareSamples(t, w.expect(0, math.MaxInt64, all), w.samples(0, math.MaxInt64, all))
}

// Samples at the ends of time are flushed as all others are.
func TestEndsOfTimeAreFlushed(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	for _, at := range []int64{math.MinInt64, 0, math.MaxInt64} {
		if err := s.Append(t.Context(), one("m", series.Sample{T: at, V: 1})); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Aggregate(t.Context(), math.MinInt64, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	if err != nil || got.Count() != 3 {
		t.Errorf("%d samples, want 3: %v", got.Count(), err)
	}
}
