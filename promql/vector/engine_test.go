package vector

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/appender"
)

// hourly asks for an hour at every minute.
func hourly(text string) question {
	at := time.UnixMilli(dataStart + 3*3600*1000)
	return question{text: text, start: at, end: at.Add(time.Hour), step: time.Minute}
}

// A query is evaluated by whom it is meant to be: a shape here, what is around it by the engine, and all else there.
func TestWhoEvaluates(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(1, 1)))}
	for _, c := range []struct{ text, by string }{
		{"celsius", "vector"},
		{"sum by (site) (rate(requests_total[5m]))", "vector"},
		{"((max(max_over_time(celsius[1h] offset 1m))))", "vector"},
		{"sum by (site) (rate(requests_total[5m])) / sum by (site) (rate(requests_total[1h])) > 0", "both"},
		{"histogram_quantile(0.9, sum by (le) (rate(requests_total[5m])))", "both"},
		{"sum(celsius @ start())", "both"},
		{"celsius + celsius", "engine"},
		{"max_over_time(sum(celsius)[10m:1m])", "engine"},
		{"absent(sum(nothing))", "engine"},
		{"stddev_over_time(celsius[5m])", "engine"},
		{"1", "engine"},
	} {
		reg := prometheus.NewRegistry()
		e := New(newProm(50_000_000), s, Options{Registerer: reg})
		if res := hourly(c.text).ask(t, e, s); res.Err != nil {
			t.Errorf("%s: %v", c.text, res.Err)
		}
		for _, by := range []string{"vector", "both", "engine"} {
			want := 0.0
			if by == c.by {
				want = 1
			}
			if got := testutil.ToFloat64(e.queries.WithLabelValues(by)); got != want {
				t.Errorf("%s: %v evaluations by %s, want %v", c.text, got, by, want)
			}
		}
	}
}

// A limit of samples, a deadline and a cancellation end a query as they end one of the engine.
func TestLimits(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(1, 1)))}
	for _, text := range []string{"celsius", "sum by (site) (celsius)", "avg by (device_id) (avg_over_time(celsius[7m]))"} {
		var many prom.ErrTooManySamples
		if res := hourly(text).ask(t, New(newProm(50), s, Options{MaxSamples: 50}), s); !errors.As(res.Err, &many) {
			t.Errorf("%s with 50 samples: %v", text, res.Err)
		}
		var late prom.ErrQueryTimeout
		if res := hourly(text).ask(t, New(newProm(50_000_000), s, Options{Timeout: 1}), s); !errors.As(res.Err, &late) {
			t.Errorf("%s within a nanosecond: %v", text, res.Err)
		}
	}
}

// stopper cancels the query at a series in the middle.
type stopper struct {
	scanner
	cancel func()
}

type stopping struct {
	Selection
	cancel func()
}

func (s stopper) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := s.scanner.Scan(ctx, mint, maxt, ms...)
	return stopping{sel, s.cancel}, err
}

func (s stopping) Len() int { return 100_000 }

func (s stopping) Chunks(dst []chunk.Chunk, buf *[]byte, i int, need chunk.Need) ([]chunk.Chunk, error) {
	switch {
	case i == 5:
		s.cancel()
	case i > 90_000:
		return nil, errors.New("the query went on")
	}
	return s.Selection.Chunks(dst, buf, 0, need)
}

func (s stopping) AppendValues(dst []byte, _ int, names ...string) []byte {
	return s.Selection.AppendValues(dst, 0, names...)
}

func TestCancel(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(1, 1)))}
	var query prom.Query
	e := New(newProm(50_000_000), stopper{s, func() { query.Cancel() }}, Options{})
	query, err := e.NewInstantQuery(t.Context(), s, nil, "sum(celsius)", time.UnixMilli(dataStart+dataSpan))
	if err != nil {
		t.Fatal(err)
	}
	var canceled prom.ErrQueryCanceled
	if res := query.Exec(t.Context()); !errors.As(res.Err, &canceled) {
		t.Errorf("after Cancel: %v", res.Err)
	}
}

// Native histograms anywhere in the selection, and floats beside them, have the engine's answers.
func TestHistogramsAreLeftToTheEngine(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	app := appender.New(st).Appender(t.Context())
	for i := range int64(400) {
		at := dataStart + i*15_000
		if _, err := app.AppendHistogram(0, labels.FromStrings("__name__", "h", "k", "a"), at, tsdbutil.GenerateTestHistogram(i), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := app.Append(0, labels.FromStrings("__name__", "h", "k", "b"), at, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	s, below := scanner{st}, newProm(50_000_000)
	e := New(below, s, Options{})
	for _, text := range []string{"h", "rate(h[5m])", "sum(h)", "sum by (k) (increase(h[5m]))", "count(count_over_time(h[5m]))", "max_over_time(h[5m])", `sum(h{k="b"})`} {
		q := question{text: text, start: time.UnixMilli(dataStart + 3_000_000)}
		q.end = q.start
		if err := differ(q, q.ask(t, e, s), q.ask(t, below, s)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What the statistics of chunks cannot tell exactly is computed from samples: sums that cancel out, and sums that
// overflow in one order only.
func TestStatisticsThatDoNotSuffice(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	app := appender.New(st).Appender(t.Context())
	for i := range int64(4000) {
		sign := 1.0
		if i >= 2000 {
			sign = -1
		}
		at := dataStart - dataStart%7_200_000 + i*10_000
		for name, v := range map[string]float64{"cancels": sign * (1e9 + 0.1), "overflows": sign * 1.7e308, "tiny": sign * 5e-324, "zero": math.Copysign(0, -sign)} {
			if _, err := app.Append(0, labels.FromStrings("__name__", name), at, v+0.3*float64(i%2)*sign); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := st.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, below := scanner{st}, newProm(50_000_000)
	e := New(below, s, Options{})
	for _, name := range []string{"cancels", "overflows", "tiny", "zero"} {
		for _, f := range []string{"sum", "avg", "min", "max", "count"} {
			for _, window := range []string{"12h", "11h7m", "5h"} {
				q := question{text: f + "_over_time(" + name + "[" + window + "])", start: time.UnixMilli(dataStart + 11*3600_000)}
				q.end = q.start
				if err := differ(q, q.ask(t, e, s), q.ask(t, below, s)); err != nil {
					t.Errorf("%s: %v", q.text, err)
				}
			}
		}
	}
}

// broken panics over a series in the middle.
type broken struct{ scanner }

type breaking struct{ Selection }

func (s broken) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := s.scanner.Scan(ctx, mint, maxt, ms...)
	return breaking{sel}, err
}

func (breaking) Chunks([]chunk.Chunk, *[]byte, int, chunk.Need) ([]chunk.Chunk, error) {
	panic("a mistake")
}

// astray finds out at the end that labels were wrong.
type astray struct{ scanner }

type straying struct{ Selection }

func (s astray) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := s.scanner.Scan(ctx, mint, maxt, ms...)
	return straying{sel}, err
}

func (straying) Err() error { return errors.New("the index is damaged") }

// An answer whose labels may be wrong is none.
func TestDamagedLabelsEndTheQuery(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(1, 1)))}
	for _, text := range []string{"celsius", "sum by (site) (celsius)"} {
		res := hourly(text).ask(t, New(newProm(50_000_000), astray{s}, Options{}), s)
		if res.Err == nil || !strings.Contains(res.Err.Error(), "the index is damaged") {
			t.Errorf("%s: error %v", text, res.Err)
		}
	}
}

// A mistake in here ends a query, and not the process.
func TestPanicEndsTheQuery(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(1, 1)))}
	res := hourly("sum(celsius)").ask(t, New(newProm(50_000_000), broken{s}, Options{}), s)
	if res.Err == nil || !strings.Contains(res.Err.Error(), "a mistake") {
		t.Errorf("error %v", res.Err)
	}
}
