package store

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// someOf is a batch of samples that overlap those of others of its kind, the same and with other values, in time order or not.
func someOf(r *rand.Rand) *series.Batch {
	b := &series.Batch{}
	for i := range 1 + r.IntN(8) {
		e := series.Entry{Key: series.AppendKey(nil, labels.FromStrings("__name__", fmt.Sprint("m", (i+r.IntN(3))%8))), First: len(b.Samples)}
		at := int64(epoch) + r.Int64N(300)*1000
		for range r.IntN(40) {
			v := float64(at % 7)
			if r.IntN(10) == 0 {
				v = math.NaN()
			}
			b.Samples = append(b.Samples, series.Sample{T: at, V: v})
			at += 1000 * (r.Int64N(4) - r.Int64N(2)*r.Int64N(2)*3)
		}
		e.Count = len(b.Samples) - e.First
		b.Series = append(b.Series, e)
	}
	return b
}

func clone(b *series.Batch) *series.Batch {
	return &series.Batch{Series: append([]series.Entry(nil), b.Series...), Samples: append([]series.Sample(nil), b.Samples...)}
}

// What AppendMissing leaves out makes no difference, wherever the other samples lie; and what is there already is left out.
func TestAppendMissing(t *testing.T) {
	for seed := range uint64(40) {
		whole, missing := newWorld(t, seed), newWorld(t, seed)
		r := rand.New(rand.NewPCG(seed, 1))
		for step := range 40 {
			b := someOf(r)
			if err := whole.s.Append(t.Context(), clone(b)); err != nil {
				t.Fatal(err)
			}
			if err := missing.s.AppendMissing(t.Context(), clone(b)); err != nil {
				t.Fatal(err)
			}
			if r.IntN(12) == 0 {
				if err := missing.s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				only := one(fmt.Sprint("only", step), series.Sample{T: epoch, V: 1})
				for range 2 {
					if err := missing.s.AppendMissing(t.Context(), clone(only)); err != nil {
						t.Fatal(err)
					}
				}
				again := clone(only)
				if err := missing.s.AppendMissing(t.Context(), again); err != nil || len(again.Series)+len(again.Samples) != 0 {
					t.Fatalf("seed %d: of what is there already it stores %v: %v", seed, again.Samples, err)
				}
				if err := whole.s.Append(t.Context(), only); err != nil {
					t.Fatal(err)
				}
			}
			a, err := whole.s.Digests(t.Context(), math.MinInt64, math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			d, err := missing.s.Digests(t.Context(), math.MinInt64, math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(a) != fmt.Sprint(d) {
				t.Fatalf("seed %d, step %d: digests are %v and %v", seed, step, a, d)
			}
		}
		(&replica{world: missing}).equalsARead()
	}
}

// A copy of what is here keeps digests known, where storing it once more would have them counted.
func TestAppendMissingKeepsDigests(t *testing.T) {
	w := newWorld(t, 1)
	p := &replica{world: w}
	for i := range 100 {
		if err := w.s.Append(t.Context(), one("m", series.Sample{T: epoch + int64(i)*1000, V: 1})); err != nil {
			t.Fatal(err)
		}
	}
	p.equalsARead()
	counted := testutil.ToFloat64(w.s.m.counted)
	var all []series.Sample
	for i := range 100 {
		all = append(all, series.Sample{T: epoch + int64(i)*1000, V: 1})
	}
	if err := w.s.AppendMissing(t.Context(), one("m", all...)); err != nil {
		t.Fatal(err)
	}
	p.equalsARead()
	if got := testutil.ToFloat64(w.s.m.counted); got != counted {
		t.Errorf("%v digests were counted anew", got-counted)
	}
}

// What is left out is durable like the rest: a sample whose writer still waits for the disk is not said to be here when that fails.
func TestAppendMissingWaitsForTheDisk(t *testing.T) {
	fs := &brittle{FS: disk.OS}
	s := open(t, t.TempDir(), Options{FS: fs})
	defer s.Close()
	b := one("m", series.Sample{T: epoch, V: 1})
	s.gate.RLock()
	_, err := s.put(b, &work{})
	s.gate.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	fs.fail.Store(true)
	if err := s.AppendMissing(t.Context(), clone(b)); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("the disk fails, and AppendMissing says %v", err)
	}
	if err := s.AppendMissing(t.Context(), clone(b)); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("the disk still fails, and AppendMissing says %v", err)
	}
	fs.fail.Store(false)
	if err := s.AppendMissing(t.Context(), clone(b)); err != nil {
		t.Error(err)
	}
}

// Those who wait to ask share one count; who asks later sees what came meanwhile.
func TestQuestionsShareACount(t *testing.T) {
	w := newWorld(t, 3)
	add := func(at int64) {
		t.Helper()
		if err := w.s.Append(t.Context(), one("m", series.Sample{T: at, V: 1})); err != nil {
			t.Fatal(err)
		}
	}
	ask := func() {
		if _, err := w.s.Digests(t.Context(), math.MinInt64, math.MaxInt64); err != nil {
			t.Error(err)
		}
	}
	add(epoch + 1000)
	add(epoch) // late
	ask()
	const askers = 8
	for i := range int64(5) {
		add(epoch + 1 + i) // late
		counted := testutil.ToFloat64(w.s.m.counted)
		w.s.ledger.one.Lock()
		var wg sync.WaitGroup
		for range askers {
			wg.Go(ask)
		}
		for w.s.ledger.recent.askers.Load() < askers {
			runtime.Gosched()
		}
		w.s.ledger.one.Unlock()
		wg.Wait()
		if got := testutil.ToFloat64(w.s.m.counted) - counted; got != 1 {
			t.Errorf("%d who asked at once had it counted %v times", askers, got)
		}
		if w.s.ledger.recent.counted != nil {
			t.Error("counts are kept though nobody waits")
		}
		(&replica{world: w}).equalsARead()
	}
	var r recent
	r.askers.Store(2)
	parts := &shard.Set{}
	parts.Add(7)
	r.keep(0, parts, 5, &digests{})
	for _, c := range []struct {
		asked uint64
		left  int
	}{{4, 0}, {6, 1}} {
		rest := *parts
		if r.since(c.asked, 0, &rest, &digests{}); rest.Len() != c.left {
			t.Errorf("of a count at 5, %d partitions are left of a question at %d, want %d", rest.Len(), c.asked, c.left)
		}
	}
}
