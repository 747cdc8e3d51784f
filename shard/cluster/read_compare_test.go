package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/series"
)

// everythingOf is all that can be asked, by name.
var everythingOf = map[string]func(ctx context.Context, s Source, q query) (content, error){
	"scan":   func(ctx context.Context, s Source, q query) (content, error) { return scanAll(ctx, s, q) },
	"select": func(ctx context.Context, s Source, q query) (content, error) { return selectAll(ctx, s, q, nil) },
	"select with hints": func(ctx context.Context, s Source, q query) (content, error) {
		return selectAll(ctx, s, q, &storage.SelectHints{Start: q.mint/2 + q.maxt/2, End: q.maxt, Step: 60_000, Range: 300_000, Func: "rate"})
	},
	"chunks":         func(ctx context.Context, s Source, q query) (content, error) { return chunksAll(ctx, s, q) },
	"labels":         func(ctx context.Context, s Source, q query) (content, error) { return labelsAll(ctx, s, q, 0) },
	"labels limited": func(ctx context.Context, s Source, q query) (content, error) { return labelsAll(ctx, s, q, 3) },
	"exemplars":      func(ctx context.Context, s Source, q query) (content, error) { return exemplarsAll(ctx, s, q) },
	"metadata": func(_ context.Context, s Source, _ query) (content, error) {
		out := content{}
		s.Metadata(func(m series.Metadata) bool {
			out[m.Family] = append(out[m.Family], fmt.Sprint(m))
			return true
		})
		return out, nil
	},
}

// compare asks both everything, and reports differences.
func compare(t *testing.T, want, got Source, q query) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(everythingOf)) {
		a, err := everythingOf[name](t.Context(), want, q)
		if err != nil {
			t.Fatalf("%s %s of one store: %v", name, q, err)
		}
		b, err := everythingOf[name](t.Context(), got, q)
		if err != nil {
			t.Fatalf("%s %s: %v", name, q, err)
		}
		if d := a.differences(b); d != "" {
			t.Fatalf("%s %s differs: %s", name, q, d)
		}
	}
	compareSeries(t, want, got, q)
	a, err := want.Aggregate(t.Context(), q.mint, q.maxt, q.ms...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := got.Aggregate(t.Context(), q.mint, q.maxt, q.ms...)
	if err == nil {
		err = sameStats(a, b)
	}
	if err != nil {
		t.Fatalf("aggregate %s: %v", q, err)
	}
}

// compareSeries asks for series without samples. Those that have a chunk across the range and nothing in it may be there or not.
func compareSeries(t *testing.T, want, got Source, q query) {
	t.Helper()
	hints := func(q query) *storage.SelectHints {
		return &storage.SelectHints{Start: q.mint, End: q.maxt, Func: "series"}
	}
	least, err := selectAll(t.Context(), want, q, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := query{math.MinInt64, math.MaxInt64, q.ms}
	most, err := selectAll(t.Context(), want, all, hints(all))
	if err != nil {
		t.Fatal(err)
	}
	have, err := selectAll(t.Context(), got, q, hints(q))
	if err != nil {
		t.Fatalf("series %s: %v", q, err)
	}
	for k := range least {
		if _, ok := have[k]; !ok {
			t.Fatalf("series %s: %s is missing", q, k)
		}
	}
	for k := range have {
		if _, ok := most[k]; !ok {
			t.Fatalf("series %s: %s is there", q, k)
		}
	}
}
