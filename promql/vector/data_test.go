package vector

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/appender"
	"github.com/minitrue/minitrue/promql/quiz"
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

func quizOf(r *rand.Rand) quiz.Quiz { return quiz.Quiz{Rand: r, Start: dataStart, Span: dataSpan} }

// openStore makes an empty store that lives as long as the test.
func openStore(t testing.TB) *store.Store {
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
	return s
}

// randomStore holds the samples of sensors in blocks and in memory, some of them late and overlapping, and some deleted.
func randomStore(t testing.TB, r *rand.Rand) *store.Store {
	t.Helper()
	s := openStore(t)
	type point struct {
		ls labels.Labels
		t  int64
		v  float64
	}
	parts := make([][]point, quiz.Parts) // written one after the other
	q := quizOf(r)
	for _, c := range q.Sensors() {
		q.Samples(&c, func(part int, at int64, v float64) { parts[part] = append(parts[part], point{c.Labels, at, v}) })
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
			which := labels.MustNewMatcher(labels.MatchRegexp, "device_id", []string{"d0", "d[1-3]", ".+"}[r.IntN(3)])
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
