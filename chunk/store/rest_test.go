package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
)

// resting is a clock by which everything takes a millisecond, and rest is called for every wait.
func resting(rest func(d time.Duration)) duty.Cycle {
	now := time.Unix(0, 0)
	return duty.Cycle{
		Now:  func() time.Time { now = now.Add(time.Millisecond); return now },
		Wait: func(_ context.Context, d time.Duration) { rest(d) },
	}
}

// wide is a batch of so many samples of each of many series.
func wide(many, samples int) *series.Batch {
	b := &series.Batch{}
	for i := range many {
		key := series.AppendKey(nil, labels.FromStrings("__name__", fmt.Sprint("m", i)))
		b.Series = append(b.Series, series.Entry{Key: key, First: len(b.Samples), Count: samples})
		for j := range samples {
			b.Samples = append(b.Samples, series.Sample{T: epoch + int64(j)*1000, V: float64(i * j)})
		}
	}
	return b
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Errorf("it takes too long: %s", what)
			return
		}
	}
}

// checkRests fails unless work rested often, or three times if somebody came then, who ends now.
func checkRests(t *testing.T, waits bool, ended <-chan error, rests, often int) {
	t.Helper()
	if waits {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if waits && rests != 3 || !waits && rests < often {
		t.Errorf("somebody waits: %v; it has rested %d times", waits, rests)
	}
}

// A flush rests as long as nobody waits for it, and not any more when somebody does.
func TestFlushRestsUntilSomebodyWaits(t *testing.T) {
	for _, waits := range []bool{false, true} {
		var s *Store
		flushed := make(chan error, 1)
		rests := 0
		s = open(t, t.TempDir(), Options{cycle: resting(func(d time.Duration) {
			if rests++; d < 8*time.Millisecond || d > 10*time.Millisecond {
				t.Errorf("after a millisecond of work it rests for %v, want 9 ms or so", d)
			}
			if waits && rests == 3 {
				go func() { flushed <- s.Flush(context.Background()) }()
				waitFor(t, "a flush that is asked for", func() bool { return s.haste.Load() > 0 })
			}
		})})
		if err := s.Append(t.Context(), wide(400, 2)); err != nil {
			t.Fatal(err)
		}
		if err := s.freeze(false); err != nil {
			t.Fatal(err)
		}
		if err := s.flushInTime(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkRests(t, waits, flushed, rests, 20)
		if len(s.metas()) != 1 || s.haste.Load() != 0 {
			t.Errorf("there are %d blocks, and %d wait", len(s.metas()), s.haste.Load())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The fuller memory is, the less a flush rests; and not at all long before there is no room.
func TestFlushDutyGrowsWithMemory(t *testing.T) {
	s := open(t, t.TempDir(), Options{MemtableBytes: 4 << 20})
	defer s.Close()
	last := s.flushDuty()
	if last != 0.1 {
		t.Errorf("with empty memory it works %v of its time", last)
	}
	for i := 0; s.active.Bytes() < 1<<20; i++ {
		b := wide(500, 1)
		for j := range b.Samples {
			b.Samples[j] = series.Sample{T: epoch + int64(i)*1000, V: float64(i*j) * 1.1}
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		d := s.flushDuty()
		if d < last || d > 1 {
			t.Fatalf("with %d bytes in memory it works %v of its time, and with less %v", s.active.Bytes(), d, last)
		}
		last = d
	}
	if last != 1 {
		t.Errorf("with a quarter of memory full it works %v of its time", last)
	}
}

// What is copied is stored in parts with rests between, and all of it is there.
func TestAppendMissingRests(t *testing.T) {
	rests := 0
	dir := t.TempDir()
	s := open(t, dir, Options{cycle: resting(func(time.Duration) { rests++ })})
	if err := s.AppendMissing(t.Context(), wide(100, 30)); err != nil {
		t.Fatal(err)
	}
	if rests < 100+3000/partSamples { // one for each series that is looked up, and between the parts
		t.Errorf("it has rested %d times", rests)
	}
	all := labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "")
	for range 2 {
		got, err := s.Aggregate(t.Context(), epoch, epoch+1e6, all)
		if err != nil || got.Count() != 3000 {
			t.Errorf("there are %d samples: %v", got.Count(), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
	}
	s.Close()
}

// Where the log has failed between two parts and been mended, the first is lost, and it is not said that all is stored.
func TestAppendMissingAfterTheLogFailedInBetween(t *testing.T) {
	fs := &brittle{FS: disk.OS}
	var s *Store
	failed := false
	s = open(t, t.TempDir(), Options{FS: fs, cycle: resting(func(time.Duration) {
		if s.active.Samples() == 0 || failed {
			return
		}
		failed = true
		fs.fail.Store(true)
		if err := s.Append(context.Background(), one("other", series.Sample{T: epoch, V: 1})); !errors.Is(err, series.ErrUnavailable) {
			t.Errorf("the disk fails, and Append says %v", err)
		}
		fs.fail.Store(false)
		if err := s.Append(context.Background(), one("other", series.Sample{T: epoch, V: 1})); err != nil {
			t.Errorf("the disk is back, and Append says %v", err)
		}
	})})
	defer s.Close()
	if err := s.AppendMissing(t.Context(), wide(100, 30)); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("a part is lost, and AppendMissing says %v", err)
	}
	if !failed {
		t.Error("it has not rested between parts")
	}
	if err := s.AppendMissing(t.Context(), wide(100, 30)); err != nil {
		t.Error(err)
	}
}

// The digests of a new block are made by the flush, which rests, where somebody has asked for digests before; nobody has to wait for them.
func TestFlushMakesDigests(t *testing.T) {
	for _, asked := range []bool{false, true} {
		rests := 0
		s := open(t, t.TempDir(), Options{cycle: resting(func(time.Duration) { rests++ })})
		if asked {
			if _, err := s.Digests(t.Context(), epoch, epoch+1); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Append(t.Context(), wide(400, 2)); err != nil {
			t.Fatal(err)
		}
		if err := s.freeze(false); err != nil {
			t.Fatal(err)
		}
		if err := s.flushInTime(t.Context()); err != nil {
			t.Fatal(err)
		}
		if has := s.blocks[0].HasDigests(); has != asked {
			t.Errorf("asked before: %v; the block has its digests: %v", asked, has)
		}
		if asked && rests < 400 {
			t.Errorf("it has rested %d times, and digested 400 series", rests)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Working digests out rests, if who asks says so, until somebody else waits.
func TestDigestsRestUntilSomebodyWaits(t *testing.T) {
	for _, waits := range []bool{false, true} {
		s := open(t, t.TempDir(), Options{})
		if err := s.Append(t.Context(), wide(400, 2)); err != nil {
			t.Fatal(err)
		}
		rests := 0
		asked := make(chan error, 1)
		ctx := duty.Resting(t.Context(), func() {
			if rests++; waits && rests == 3 {
				go func() {
					_, err := s.Digests(context.Background(), epoch, epoch+1)
					asked <- err
				}()
				waitFor(t, "another question", func() bool { return s.ledger.recent.askers.Load() > 1 })
			}
		})
		if _, err := s.Digests(ctx, epoch, epoch+1); err != nil {
			t.Fatal(err)
		}
		checkRests(t, waits, asked, rests, 400)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
