package vector

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/promql/appender"
)

// storeOf holds a series a sample every 15 s, in blocks when it is flushed.
func storeOf(t testing.TB, flush bool, values map[string][]float64) scanner {
	t.Helper()
	s := openStore(t)
	app := appender.New(s).Appender(t.Context())
	for name, vs := range values {
		var ref storage.SeriesRef
		var err error
		for i, v := range vs {
			if ref, err = app.Append(ref, labels.FromStrings("__name__", name, "device_id", "d"), dataStart+int64(i)*15_000, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if flush {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return scanner{s}
}

// Numbers that are much larger than the others, as broken sensors send them, change the sums of no window that they are not in.
func TestSpikesStayInTheirWindows(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 5))
		flags, zeros := make([]float64, 1200), make([]float64, 1200)
		for i := range flags {
			flags[i] = float64(1+r.IntN(9)) / 10
			if i < 700 && r.IntN(100) == 0 {
				flags[i] = []float64{3.4028234663852886e38, -3.4028234663852886e38, 1e38, 1.37e38, 6.02e23, 1e100, -1.1e99}[r.IntN(7)]
				zeros[i] = flags[i]
			}
		}
		s := storeOf(t, seed%2 == 0, map[string][]float64{"flags": flags, "zeros": zeros})
		below := newProm(50_000_000)
		e := New(below, s, Options{})
		for _, name := range []string{"flags", "zeros"} {
			for _, f := range []string{"sum_over_time", "avg_over_time"} {
				q := question{text: fmt.Sprintf("%s(%s[10m])", f, name), start: time.UnixMilli(dataStart), end: time.UnixMilli(dataStart + 1200*15_000), step: time.Minute}
				if err := differ(q, q.ask(t, e, s), q.ask(t, below, s)); err != nil {
					t.Errorf("seed %d, %s: %v", seed, q.text, err)
				}
				for range 60 { // of a single window, until chunks are hot
					q.start = time.UnixMilli(dataStart + r.Int64N(1200*15_000))
					q.end, q.step = q.start, 0
					if err := differ(q, q.ask(t, e, s), q.ask(t, below, s)); err != nil {
						t.Errorf("seed %d, %s at %d: %v", seed, q.text, q.start.UnixMilli(), err)
						break
					}
				}
			}
		}
	}
}

// Nor do they hide the resets of a counter: of what falls to a large negative number, a chunk's ends and its increase say too little.
func TestSpikesHideNoResets(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 6))
		values := make([]float64, 1200)
		for i := range values {
			if values[i] = float64(1+r.IntN(9)) / 10; i > 100 && i < 900 && r.IntN(2) == 0 {
				values[i] = -3.4028234663852886e38
			}
		}
		s := storeOf(t, seed%2 == 0, map[string][]float64{"flags_total": values})
		below := newProm(50_000_000)
		e := New(below, s, Options{})
		for _, f := range []string{"increase", "rate", "delta"} {
			q := question{text: f + "(flags_total[4h])", start: time.UnixMilli(dataStart + 4*3600_000), end: time.UnixMilli(dataStart + 1200*15_000), step: time.Minute}
			if err := differ(q, q.ask(t, e, s), q.ask(t, below, s)); err != nil {
				t.Errorf("seed %d, %s: %v", seed, q.text, err)
			}
		}
	}
}
