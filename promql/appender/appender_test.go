package appender_test

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql/appender"
)

// memory is a store that keeps everything in maps.
type memory struct {
	mu     sync.Mutex // guards all
	all    map[string]*kept
	reject bool
	closed bool
}

type kept struct {
	ls      labels.Labels
	samples []chunks.Sample
}

type sample struct {
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (s sample) T() int64            { return s.t }
func (s sample) ST() int64           { return 0 }
func (s sample) F() float64          { return s.v }
func (s sample) Copy() chunks.Sample { return s }

// The engine changes the histograms that it gets.

func (s sample) H() *histogram.Histogram {
	if s.h == nil {
		return nil
	}
	return s.h.Copy()
}

func (s sample) FH() *histogram.FloatHistogram {
	if s.fh == nil {
		return nil
	}
	return s.fh.Copy()
}

func (s sample) Type() chunkenc.ValueType {
	switch {
	case s.h != nil:
		return chunkenc.ValHistogram
	case s.fh != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

func (m *memory) Append(_ context.Context, b *series.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range b.Series {
		if m.reject {
			b.Reject(i, "test", errors.New("this store takes nothing"))
			continue
		}
		k, ok := m.all[string(e.Key)]
		if !ok {
			k = &kept{}
			var sb labels.ScratchBuilder
			series.EachLabel(e.Key, func(name, value string) { sb.Add(strings.Clone(name), strings.Clone(value)) })
			k.ls = sb.Labels()
			m.all[string(e.Key)] = k
		}
		for _, s := range b.Samples[e.First : e.First+e.Count] {
			k.samples = append(k.samples, sample{t: s.T, v: s.V})
		}
		for _, h := range b.Histograms {
			if h.Series == i {
				k.samples = append(k.samples, sample{t: h.T, h: h.Int, fh: h.Float})
			}
		}
		sort.SliceStable(k.samples, func(i, j int) bool { return k.samples[i].T() < k.samples[j].T() })
	}
	return nil
}

func (m *memory) Close() error { m.closed = true; return nil }

func (m *memory) Querier(int64, int64) (storage.Querier, error) {
	return &querier{m}, nil
}

type querier struct{ m *memory }

func (q *querier) Close() error { return nil }

func (q *querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (q *querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Select gives whole series by way of chunks, which tell where counters are reset.
func (q *querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	var found []storage.ChunkSeries
	for _, k := range q.m.all {
		if matches(k.ls, ms) {
			found = append(found, storage.NewSeriesToChunkEncoder(storage.NewListSeries(k.ls, k.samples)))
		}
	}
	sort.Slice(found, func(i, j int) bool { return labels.Compare(found[i].Labels(), found[j].Labels()) < 0 })
	return storage.NewSeriesSetFromChunkSeriesSet(&set{found, -1})
}

func matches(ls labels.Labels, ms []*labels.Matcher) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

type set struct {
	all []storage.ChunkSeries
	i   int
}

func (s *set) Next() bool                        { s.i++; return s.i < len(s.all) }
func (s *set) At() storage.ChunkSeries           { return s.all[s.i] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// Prometheus's own scripts, but for the one about start timestamps, which no
// batch has, pass on a plain store behind the adapter.
func TestPrometheusScripts(t *testing.T) {
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunBuiltinTestsWithStorage(scripts{t}, engine, func(testing.TB) storage.Storage {
		return appender.New(&memory{all: map[string]*kept{}})
	})
}

// scripts leaves out the script that needs what is not stored.
type scripts struct{ *testing.T }

func (s scripts) Run(name string, f func(*testing.T)) bool {
	if strings.HasSuffix(name, "/start_timestamps.test") {
		return true
	}
	return s.T.Run(name, f)
}

func TestOldAppender(t *testing.T) {
	m := &memory{all: map[string]*kept{}}
	s := appender.New(m)
	ls := labels.FromStrings("__name__", "a", "b", "c")
	app := s.Appender(t.Context())
	app.SetOptions(nil)
	for i := range 3 {
		if _, err := app.Append(0, ls, int64(i), float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	app.AppendHistogram(0, ls, 3, &histogram.Histogram{Count: 7}, nil)
	app.AppendExemplar(0, ls, exemplar.Exemplar{Value: 1})
	app.UpdateMetadata(0, ls, metadata.Metadata{Help: "help"})
	app.AppendSTZeroSample(0, ls, 3, 1)
	app.AppendHistogramSTZeroSample(0, ls, 3, 1, nil, nil)
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if len(m.all) != 1 {
		t.Fatalf("%d series", len(m.all))
	}
	for _, k := range m.all {
		if !labels.Equal(k.ls, ls) || len(k.samples) != 4 || k.samples[3].H().Count != 7 {
			t.Errorf("got %v", k)
		}
	}
	if err := s.Appender(t.Context()).Rollback(); err != nil {
		t.Error(err)
	}
	if _, err := s.ChunkQuerier(0, 1); err == nil {
		t.Error("a chunk querier out of nothing")
	}
	if err := s.Close(); err != nil || !m.closed {
		t.Errorf("not closed: %v", err)
	}
}

func TestRejectedIsAnError(t *testing.T) {
	app := appender.New(&memory{reject: true}).AppenderV2(t.Context())
	app.Append(0, labels.FromStrings("a", "b"), 0, 1, 1, nil, nil, storage.AppendV2Options{})
	if err := app.Commit(); err == nil || !strings.Contains(err.Error(), "takes nothing") {
		t.Errorf("got %v", err)
	}
}

func Example() {
	store := appender.New(&memory{all: map[string]*kept{}})
	app := store.AppenderV2(context.Background())
	app.Append(0, labels.FromStrings("__name__", "temperature"), 0, 60_000, 21.5, nil, nil, storage.AppendV2Options{})
	if err := app.Commit(); err != nil {
		panic(err)
	}
	engine := prom.NewEngine(prom.EngineOpts{MaxSamples: 100, Timeout: time.Minute})
	q, err := engine.NewInstantQuery(context.Background(), store, nil, "temperature", time.UnixMilli(90_000))
	if err != nil {
		panic(err)
	}
	defer q.Close()
	fmt.Println(q.Exec(context.Background()))
	// Output: {__name__="temperature"} => 21.5 @[90000]
}
