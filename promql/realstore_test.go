package promql_test

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql"
	"github.com/minitrue/minitrue/promql/appender"
)

// stored is this project's store with the known data, half of it in a block.
func stored(t testing.TB) *store.Store {
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
	fill(t, appender.New(s).Appender(t.Context()), 0, dataSteps/2)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, appender.New(s).Appender(t.Context()), dataSteps/2, dataSteps)
	return s
}

var limit = regexp.MustCompile(`(^|&)limit=[0-9]*`)

// Over this project's own store the answers are those of Prometheus too, but for what depends on the
// order in which a storage has its series: what a limit keeps, and which of several an error
// names. What is counted of the work differs as well.
func TestAnswersAsPrometheusOverTheStore(t *testing.T) {
	theirs := startPrometheus(t)
	s := stored(t)
	ours := serve(t, promql.Options{Queryable: s, Exemplars: s}).URL
	failed := 0
	for _, c := range slices.Concat(evaluations(), builtinExpressions(t), lookups()) {
		c.form = limit.ReplaceAllString(c.form, "")
		got, gotBody := c.do(t, ours)
		want, wantBody := c.do(t, theirs)
		if got.StatusCode != want.StatusCode || !reflect.DeepEqual(withoutWork(normal(gotBody)), withoutWork(normal(wantBody))) {
			t.Errorf("%s:\ngot  %d %s\nwant %d %s", c, got.StatusCode, cut(gotBody), want.StatusCode, cut(wantBody))
			if failed++; failed == 20 {
				t.Fatal("and so on")
			}
		}
	}
}

// withoutWork takes away what is counted of the work, the text of errors, and the order of series.
func withoutWork(v any) any {
	if top, ok := v.(map[string]any); ok {
		delete(top, "error")
		switch data := top["data"].(type) {
		case map[string]any:
			delete(data, "stats")
		case []any: // series, in any order
			slices.SortFunc(data, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	return v
}
