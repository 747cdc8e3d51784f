package store

import (
	"context"
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/disk/powercut"
)

// doubt is what samples may be after a power cut, beside what the model says; nil stands for gone.
type doubt map[string]map[int64][]*float64

func (d doubt) add(key string, t int64, v *float64) {
	if d[key] == nil {
		d[key] = map[int64][]*float64{}
	}
	d[key][t] = append(d[key][t], v)
}

// cutPower cuts the power in the middle of something, and maybe once more in the middle of the start after it. The store then
// opens by itself with all that was acknowledged; the model takes over what came of the rest.
func (w *world) cutPower() {
	ctx, doubts := w.t.Context(), doubt{}
	w.disk.CutAfter(1 + w.r.IntN(60))
	for range 100 {
		if err := w.tryStep(ctx, doubts); errors.Is(err, powercut.ErrOff) || err != nil && w.s.broken.Load() {
			break
		} else if err != nil {
			w.t.Fatal(err)
		}
	}
	old := w.s
	w.loseRest()
	_ = old.Close() // it has no disk any more
	w.settle(doubts)
}

// tryStep does something that the cut may interrupt.
func (w *world) tryStep(ctx context.Context, doubts doubt) (err error) {
	switch w.r.IntN(8) {
	case 0:
		return w.s.Flush(ctx)
	case 1:
		return w.s.CompactAll(ctx)
	case 2:
		x := w.deletion()
		if _, err = w.deleteOnce(x); err == nil {
			w.named = append(w.named, x)
			w.eachDeleted(x, func(key string, t int64) { delete(w.model[key], t) })
		} else {
			w.eachDeleted(x, func(key string, t int64) { doubts.add(key, t, nil) })
		}
	default:
		b := w.batch()
		if err = w.s.Append(ctx, b); err == nil {
			w.model.addAll(b)
		} else {
			for _, e := range b.Series {
				for _, s := range b.Samples[e.First : e.First+e.Count] {
					doubts.add(string(e.Key), s.T, &s.V)
				}
			}
		}
	}
	return err
}

// loseRest goes on with what is left on the disk.
func (w *world) loseRest() {
	for again := w.r.IntN(3) == 0; ; again = false {
		w.disk.Cut()
		rest := w.t.TempDir()
		if err := w.disk.Remains(w.r, rest); err != nil {
			w.t.Fatal(err)
		}
		if !again {
			w.enter(rest)
			return
		}
		d, err := powercut.New(rest)
		if err != nil {
			w.t.Fatal(err)
		}
		d.CutAfter(1 + w.r.IntN(20))
		w.dir, w.disk, w.o.FS = rest, d, d
		s, err := Open(w.dir, w.o)
		switch {
		case err == nil:
			d.Cut()
			_ = s.Close()
		case !errors.Is(err, powercut.ErrOff):
			w.t.Fatal(err)
		}
	}
}

// settle compares what is in doubt with the store, and takes it over into the model.
func (w *world) settle(doubts doubt) {
	have := w.samples(math.MinInt64, math.MaxInt64, []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")})
	for key, times := range doubts {
		got := map[int64]float64{}
		for _, s := range have[w.labels(key).String()] {
			got[s.T] = s.V
		}
		for t, may := range times {
			v, there := got[t]
			was, known := w.model[key][t]
			fits := there == known && (!there || math.Float64bits(v) == math.Float64bits(was))
			for _, m := range may {
				fits = fits || (m != nil) == there && (m == nil || math.Float64bits(*m) == math.Float64bits(v))
			}
			if !fits {
				w.t.Fatalf("%s at %d is %v (there: %v), and was %v (there: %v)", key, t, v, there, was, known)
			}
			if !there {
				delete(w.model[key], t)
				continue
			}
			if w.model[key] == nil {
				w.model[key] = map[int64]float64{}
			}
			w.model[key][t] = v
		}
	}
	w.query()
}
