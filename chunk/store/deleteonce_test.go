package store

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/disk/powercut"
	"github.com/minitrue/minitrue/chunk/series"
)

// A delete that is asked for again does nothing: what came since stays, until the delete is forgotten.
func TestDeleteOnce(t *testing.T) {
	w := newWorld(t, 1)
	m := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	count := func() uint64 {
		t.Helper()
		got, err := w.s.Aggregate(t.Context(), math.MinInt64, math.MaxInt64, m)
		if err != nil {
			t.Fatal(err)
		}
		return got.Count()
	}
	add := func() {
		t.Helper()
		if err := w.s.Append(t.Context(), one("m", series.Sample{T: epoch, V: 1})); err != nil {
			t.Fatal(err)
		}
	}
	once := func(id string, want int) {
		t.Helper()
		if n, err := w.s.DeleteOnce(t.Context(), id, math.MinInt64, math.MaxInt64, m); err != nil || n != want {
			t.Fatalf("delete %s concerned %d series, want %d: %v", id, n, want, err)
		}
	}
	once("early", 0) // nothing is there, and that is remembered, too
	add()
	once("early", 0)
	if count() != 1 {
		t.Fatal("a delete was done again")
	}
	once("x", 1)
	if count() != 0 {
		t.Fatal("nothing was deleted")
	}
	w.pass(1000)
	once("later", 1) // of a series whose samples are hidden already
	add()
	for range 2 {
		for _, id := range []string{"early", "x", "later"} {
			once(id, 0)
		}
		if err := w.s.CompactAll(t.Context()); err != nil { // no tombstone is needed any more
			t.Fatal(err)
		}
		if count() != 1 {
			t.Fatal("a delete was done again")
		}
		w.crash()
	}
	w.snapshot()
	once("x", 0)
	if err := w.s.ForgetDeletes(epoch + 1000); err != nil {
		t.Fatal(err)
	}
	w.restart()
	once("later", 0)
	if count() != 1 {
		t.Fatal("a delete was done again")
	}
	once("x", 1)
	if count() != 0 {
		t.Fatal("a delete that was forgotten was not done")
	}
	if _, err := w.s.DeleteOnce(t.Context(), "", math.MinInt64, math.MaxInt64, m); err == nil {
		t.Fatal("a delete without an id was accepted")
	}
}

// At whatever write the power goes, a named delete is done and remembered, or neither: done again after the start, it
// does not touch what came after the first time.
func TestDeleteOnceSurvivesPowerCuts(t *testing.T) {
	m := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	done := 0
	for writes := 1; writes < 60; writes++ {
		t.Run(fmt.Sprint(writes, " writes"), func(t *testing.T) {
			w := newWorld(t, uint64(writes))
			if err := w.s.Append(t.Context(), one("m", series.Sample{T: epoch, V: 1}, series.Sample{T: epoch + 1, V: 1})); err != nil {
				t.Fatal(err)
			}
			w.disk.CutAfter(writes)
			_, err := w.s.DeleteOnce(t.Context(), "x", epoch, epoch, m)
			if err == nil { // a sample that is as old, but came later
				err = w.s.Append(t.Context(), one("m", series.Sample{T: epoch, V: 2}))
				if err == nil {
					done++
				}
			}
			if err != nil && !errors.Is(err, powercut.ErrOff) && !w.s.broken.Load() {
				t.Fatal(err)
			}
			acked := err == nil
			old := w.s
			w.loseRest()
			_ = old.Close() // it has no disk any more
			if _, err := w.s.DeleteOnce(t.Context(), "x", epoch, epoch, m); err != nil {
				t.Fatal(err)
			}
			got, err := w.s.Aggregate(t.Context(), epoch, epoch, m)
			if err != nil {
				t.Fatal(err)
			}
			if acked && (got.Count() != 1 || got.Max != 2) {
				t.Fatalf("cut after %d writes: %d samples up to %v; a delete was done twice", writes, got.Count(), got.Max)
			}
			if got.Count() > 0 && got.Max == 1 {
				t.Fatalf("cut after %d writes: the deleted sample is back", writes)
			}
		})
	}
	if done == 0 || done == 59 {
		t.Fatalf("%d of 59 deletes were done before the cut", done)
	}
}
