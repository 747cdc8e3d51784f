package ingest

import (
	"context"
	"errors"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"

	"github.com/minitrue/minitrue/chunk/series"
)

// clock is the time in these tests, in milliseconds.
const clock = int64(1_700_000_000_000)

func now() time.Time { return time.UnixMilli(clock) }

func key(nv ...string) (k []byte) {
	for i := 0; i < len(nv); i += 2 {
		k = series.AppendLabel(k, nv[i], nv[i+1])
	}
	return k
}

// add appends a series with float samples at these times; each value is its time.
func add(b *series.Batch, k []byte, times ...int64) {
	b.Series = append(b.Series, series.Entry{Key: k, First: len(b.Samples), Count: len(times)})
	for _, t := range times {
		b.Samples = append(b.Samples, series.Sample{T: t, V: float64(t)})
	}
}

// appendFunc is an appender.
type appendFunc func(context.Context, *series.Batch) error

func (f appendFunc) Append(ctx context.Context, b *series.Batch) error { return f(ctx, b) }

func accept(context.Context, *series.Batch) error { return nil }

func TestTimesAreChecked(t *testing.T) {
	const hour = int64(3_600_000)
	var b series.Batch
	add(&b, key("__name__", "good"), clock, clock+hour, clock-24*hour)
	add(&b, key("__name__", "mixed"), -1, clock, clock+hour+1, clock-1, clock-24*hour-1, math.MinInt64, math.MaxInt64)
	add(&b, key("__name__", "all_bad"), -5)
	add(&b, key("__name__", "rejected"), -5, clock)
	b.Reject(3, "label_order", errors.New("x"))
	b.Histograms = []series.Histogram{{Series: 0, T: clock, Int: &histogram.Histogram{}}, {Series: 1, T: -1}, {Series: 1, T: clock + hour + 1}, {Series: 3, T: -1}}
	b.Exemplars = []series.Exemplar{{Series: 0, Exemplar: exemplar.Exemplar{Ts: clock}}, {Series: 0, Exemplar: exemplar.Exemplar{Ts: -1}}}

	p := NewPipeline(appendFunc(accept), Options{Now: now, Retention: 24 * time.Hour})
	if err := p.Append(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, e := range b.Series[:3] {
		for _, s := range b.Samples[e.First : e.First+e.Count] {
			if s.V != float64(s.T) {
				t.Errorf("value %v at %d", s.V, s.T)
			}
			got = append(got, s.T)
		}
	}
	if want := []int64{clock, clock + hour, clock - 24*hour, clock, clock - 1}; !equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if len(b.Histograms) != 2 || len(b.Exemplars) != 1 {
		t.Errorf("kept %d histograms and %d exemplars", len(b.Histograms), len(b.Exemplars))
	}
	want := map[string]int{"time_negative": 5, "time_future": 3, "time_retention": 1, "label_order": 2}
	if !maps.Equal(b.Rejected.Reasons, want) {
		t.Errorf("reasons %v, want %v", b.Rejected.Reasons, want)
	}
	if b.Rejected.Samples != 8 || b.Rejected.Histograms != 2 || b.Rejected.Exemplars != 1 {
		t.Errorf("%+v", b.Rejected)
	}
	if text := errors.Join(b.Rejected.Errs...).Error(); !strings.Contains(text, `sample of {__name__="mixed"} at 2023-11-14T23:13:20.001Z (1700003600001 ms): the time is more than 1h0m0s ahead`) {
		t.Errorf("the errors say:\n%s", text)
	}
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestNoRetentionKeepsOldSamples(t *testing.T) {
	var b series.Batch
	add(&b, key("__name__", "m"), 0, 1)
	if err := NewPipeline(appendFunc(accept), Options{Now: now}).Append(context.Background(), &b); err != nil || b.Rejected.Any() {
		t.Fatal(err, b.Rejected)
	}
}

func TestErrorsShortenLabels(t *testing.T) {
	k := key("__name__", strings.Repeat("é", 100))
	for i := range 20 {
		k = series.AppendLabel(k, "label"+string(rune('a'+i)), strings.Repeat("v", 1000))
	}
	if s := labelText(k); len(s) > 400 || !strings.HasSuffix(s, "…}") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
	if s := labelText([]byte{1}); !strings.Contains(s, "malformed") {
		t.Error(s)
	}
}

func TestMetricsCountByDoor(t *testing.T) {
	reg := prometheus.NewRegistry()
	var fail error
	p := NewPipeline(appendFunc(func(_ context.Context, b *series.Batch) error {
		if fail == nil {
			b.Reject(1, "label_order", errors.New("unsorted"))
		}
		return fail
	}), Options{Now: now, Registerer: reg})
	batch := func() *series.Batch {
		var b series.Batch
		add(&b, key("__name__", "a"), clock, clock, -1)
		add(&b, key("__name__", "b"), clock, clock)
		b.Histograms = []series.Histogram{{Series: 0, T: clock}, {Series: 1, T: clock}}
		return &b
	}
	door := p.Door("mqtt")
	if err := door.Append(context.Background(), batch()); err != nil {
		t.Fatal(err)
	}
	fail = series.ErrUnavailable
	if err := door.Append(context.Background(), batch()); !errors.Is(err, series.ErrUnavailable) {
		t.Fatal(err)
	}
	want := `
# HELP minitrue_ingest_failed_batches_total Batches that were not committed, by door and outcome; senders try them again.
# TYPE minitrue_ingest_failed_batches_total counter
minitrue_ingest_failed_batches_total{door="mqtt",outcome="unavailable"} 1
# HELP minitrue_ingest_rejected_total Samples, histograms and exemplars that can never be stored, by door and reason.
# TYPE minitrue_ingest_rejected_total counter
minitrue_ingest_rejected_total{door="mqtt",reason="label_order"} 3
minitrue_ingest_rejected_total{door="mqtt",reason="time_negative"} 1
# HELP minitrue_ingest_samples_total Float samples and histograms that were committed, by door.
# TYPE minitrue_ingest_samples_total counter
minitrue_ingest_samples_total{door="mqtt"} 3
minitrue_ingest_samples_total{door="other"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "minitrue_ingest_samples_total", "minitrue_ingest_rejected_total", "minitrue_ingest_failed_batches_total"); err != nil {
		t.Error(err)
	}
}

func TestGate(t *testing.T) {
	hold := make(chan struct{})
	p := NewPipeline(appendFunc(func(context.Context, *series.Batch) error { <-hold; return nil }), Options{Now: now, MaxSamples: 10, MaxWaiting: 1})
	ended := make(chan error, 2)
	go func() { // heavier than the gate, and let in alone
		var b series.Batch
		add(&b, key("__name__", "a"), make([]int64, 20)...)
		ended <- p.Append(context.Background(), &b)
	}()
	poll(t, func() bool { n, _ := p.gate.load(); return n == 10 })
	one := func() *series.Batch {
		var b series.Batch
		add(&b, key("__name__", "a"), clock)
		return &b
	}
	go func() { ended <- p.Append(context.Background(), one()) }()
	poll(t, func() bool { _, n := p.gate.load(); return n == 1 })
	if err := p.Append(context.Background(), one()); !errors.Is(err, series.ErrOverload) {
		t.Fatalf("with a full line: %v", err)
	}
	close(hold)
	for range 2 {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if n, w := p.gate.load(); n != 0 || w != 0 {
		t.Fatalf("%d samples, %d waiting are left", n, w)
	}
}

func TestGateForgetsWhoGaveUp(t *testing.T) {
	g := newGate(10, 10)
	if err := g.enter(context.Background(), 10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 {
		if err := g.enter(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	g.leave(10)
	if n, w := g.load(); n != 0 || w != 0 {
		t.Fatalf("%d samples, %d waiting", n, w)
	}
	if err := g.enter(context.Background(), 10); err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what happens in a moment on a machine with nothing else to do.
const patience = time.Minute

func poll(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

func TestGoodBatchesCostNoAllocation(t *testing.T) {
	p := NewPipeline(appendFunc(accept), Options{Now: now, Retention: time.Hour, Tap: NewTap(TapOptions{})})
	var b series.Batch
	add(&b, key("__name__", "m"), clock, clock)
	d := p.Door("x")
	if n := testing.AllocsPerRun(100, func() { _ = d.Append(context.Background(), &b) }); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkPipeline(b *testing.B) {
	p := NewPipeline(appendFunc(accept), Options{Retention: 24 * time.Hour, Tap: NewTap(TapOptions{})})
	var batch series.Batch
	at := time.Now().UnixMilli()
	for range 2000 {
		add(&batch, key("__name__", "m"), at)
	}
	d := p.Door("x")
	b.ReportAllocs()
	for b.Loop() {
		_ = d.Append(context.Background(), &batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
}
