package flow

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Windows touch, and cover what they shall.
func TestWindows(t *testing.T) {
	for _, row := range []struct{ from, to, length int64 }{
		{0, 99, 10}, {5, 5, 10}, {-25, 25, 10}, {9, 10, 10}, {math.MaxInt64 - 3, math.MaxInt64, 10}, {-10, -1, 10},
		{math.MinInt64, math.MinInt64 + 5, 10}, {0, math.MaxInt64, math.MaxInt64},
	} {
		next, n := row.from, 0
		err := Windows(row.from, row.to, row.length, func(mint, maxt int64) error {
			if mint != next || maxt < mint || maxt > row.to || uint64(maxt-mint) >= uint64(row.length) && row.length != math.MaxInt64 {
				t.Fatalf("%+v: a window from %d to %d, want it from %d", row, mint, maxt, next)
			}
			next = maxt + 1
			n++
			return nil
		})
		if err != nil || next != row.to+1 || n == 0 {
			t.Errorf("%+v: %d windows up to %d, %v", row, n, next, err)
		}
	}
}

func TestEachCutsRuns(t *testing.T) {
	c := chunkenc.NewXORChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		app.Append(0, int64(i), float64(i))
	}
	next := int64(5)
	var b Buffer
	err = b.Each(labels.FromStrings("a", "b"), nil, c.Iterator(nil), 5, 9_000, func(r *Run) error {
		if r.Len() > most {
			t.Errorf("a run of %d", r.Len())
		}
		for _, s := range r.Floats {
			if s.T != next || s.V != float64(next) {
				t.Fatalf("%+v, want %d", s, next)
			}
			next++
		}
		return nil
	})
	if err != nil || next != 9_001 {
		t.Errorf("up to %d, %v", next, err)
	}
}
