package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/appender"
	"github.com/minitrue/minitrue/promql/vector"
)

// scripts leaves scripts out by their names: first of all the one about start timestamps, which are accepted and not stored.
type scripts struct {
	*testing.T
	without []string
}

func (s scripts) Run(name string, f func(*testing.T)) bool {
	for _, out := range append(s.without, "/start_timestamps.test") {
		if strings.HasSuffix(name, out) {
			return true
		}
	}
	return s.T.Run(name, f)
}

func openStorage(t testing.TB) storage.Storage {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return appender.New(s)
}

// Prometheus's own test scripts give the answers that they want, over this storage.
func TestPrometheusScripts(t *testing.T) {
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunBuiltinTestsWithStorage(scripts{T: t}, engine, openStorage)
}

// And they do by way of the vectorised path, which drops names at once, as the product's engine is set to do.
func TestPrometheusScriptsVectorised(t *testing.T) {
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunBuiltinTestsWithStorage(scripts{t, []string{"/name_label_dropping.test"}}, vectorised{engine}, openStorage)
}

// vectorised puts the vectorised path before an engine, whatever store a query is about.
type vectorised struct{ *prom.Engine }

func (e vectorised) over(q storage.Queryable) prom.QueryEngine {
	s, ok := q.(appender.Storage)
	if !ok {
		return e.Engine
	}
	return vector.New(e.Engine, scanner{s.Store.(*store.Store)}, vector.Options{MaxSamples: promqltest.DefaultMaxSamplesPerQuery})
}

func (e vectorised) NewInstantQuery(ctx context.Context, q storage.Queryable, o prom.QueryOpts, text string, at time.Time) (prom.Query, error) {
	return e.over(q).NewInstantQuery(ctx, q, o, text, at)
}

func (e vectorised) NewRangeQuery(ctx context.Context, q storage.Queryable, o prom.QueryOpts, text string, start, end time.Time, step time.Duration) (prom.Query, error) {
	return e.over(q).NewRangeQuery(ctx, q, o, text, start, end, step)
}

type scanner struct{ *store.Store }

func (s scanner) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (vector.Selection, error) {
	return s.Store.Scan(ctx, mint, maxt, ms...)
}
