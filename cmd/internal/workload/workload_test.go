package workload

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

var shape = Shape{Series: 1234, Samples: 50, Start: 1_700_000_000_000, Interval: 10_000, Seed: 7, Values: Walk}

// decode reads a body with Prometheus's own decoder.
func decode(t *testing.T, p Protocol, body []byte) (ls []labels.Labels, samples []prompb.Sample) {
	t.Helper()
	b := labels.NewScratchBuilder(6)
	if p == V2 {
		var req writev2.Request
		if err := req.Unmarshal(body); err != nil {
			t.Fatal(err)
		}
		if len(req.Symbols) == 0 || req.Symbols[0] != "" {
			t.Fatal("symbol 0 is not the empty string")
		}
		for _, ts := range req.Timeseries {
			l, err := ts.ToLabels(&b, req.Symbols)
			if err != nil || len(ts.Samples) != 1 {
				t.Fatal(err, len(ts.Samples))
			}
			ls = append(ls, l)
			samples = append(samples, prompb.Sample{Value: ts.Samples[0].Value, Timestamp: ts.Samples[0].Timestamp})
		}
		return ls, samples
	}
	var req prompb.WriteRequest
	if err := req.Unmarshal(body); err != nil {
		t.Fatal(err)
	}
	for _, ts := range req.Timeseries {
		if len(ts.Samples) != 1 {
			t.Fatalf("%d samples", len(ts.Samples))
		}
		ls = append(ls, ts.ToLabels(&b, nil))
		samples = append(samples, ts.Samples[0])
	}
	return ls, samples
}

func TestBodiesHoldTheShape(t *testing.T) {
	for _, p := range []Protocol{V1, V2} {
		for _, values := range []Values{Walk, Unique} {
			t.Run(fmt.Sprintf("%s %s", p, values), func(t *testing.T) {
				s := shape
				s.Values = values
				b, err := s.NewBatch(p, 100, 1234)
				if err != nil {
					t.Fatal(err)
				}
				want := make([]Walker, s.Series)
				for i := range want {
					want[i] = s.Walker(i)
				}
				var body []byte
				for step := range s.Samples {
					if b.Step() != step {
						t.Fatalf("step %d, want %d", b.Step(), step)
					}
					body = b.Append(body[:0])
					ls, samples := decode(t, p, body)
					if len(ls) != b.Len() {
						t.Fatalf("%d series, want %d", len(ls), b.Len())
					}
					for i := range ls {
						n := 100 + i
						if got, ok := Lookup(ls[i]); !ok || got != n {
							t.Fatalf("series %d: %v is looked up as %d, %v", n, ls[i], got, ok)
						}
						v := want[n].Next()
						if samples[i].Timestamp != s.Time(step) || math.Float64bits(samples[i].Value) != math.Float64bits(v) {
							t.Fatalf("series %d step %d: %v, want %v at %d", n, step, samples[i], v, s.Time(step))
						}
					}
				}
			})
		}
	}
}

func TestTwoBatchesAreEqual(t *testing.T) {
	a, _ := shape.NewBatch(V1, 0, 1000)
	b, _ := shape.NewBatch(V1, 0, 1000)
	for range 20 {
		if string(a.Append(nil)) != string(b.Append(nil)) {
			t.Fatal("the same shape gave different bytes")
		}
	}
}

// The checker of an older log must know the values: they never change.
func TestWalkIsGolden(t *testing.T) {
	rows := []struct {
		series int
		want   string
	}{
		{0, "[29.6 29.4 29.2 29 28.8 29 28.8 28.7]"},
		{9, "[4.3 8.3 11 14.7 20.4 21.7 27 30.5]"},
	}
	for _, r := range rows {
		w := shape.Walker(r.series)
		var got []float64
		for range 8 {
			got = append(got, w.Next())
		}
		if fmt.Sprint(got) != r.want {
			t.Errorf("series %d: %v, want %s", r.series, got, r.want)
		}
	}
}

func TestWalksStayInRangeAndDecimal(t *testing.T) {
	for m, p := range sensors {
		w := shape.Walker(m)
		last, changes := math.Inf(-1), 0
		for range 20_000 {
			v := w.Next()
			if n := v * p.scale; n < float64(p.min)-1e-6 || n > float64(p.max)+1e-6 || math.Abs(n-math.Round(n)) > 1e-6 {
				t.Fatalf("%s: %v", p.name, v)
			}
			if p.counter && v < last {
				t.Fatalf("%s: the counter fell from %v to %v", p.name, last, v)
			}
			if v != last {
				changes++
			}
			last = v
		}
		if changes < 1000 {
			t.Errorf("%s changed %d times in 20,000", p.name, changes)
		}
	}
}

func TestUniqueValuesDiffer(t *testing.T) {
	s := shape
	s.Values = Unique
	seen := map[float64]bool{}
	for _, n := range []int{0, 1, 2, 99_999_999} {
		w := s.Walker(n)
		for range 1000 {
			if v := w.Next(); seen[v] || v != math.Trunc(v) || v >= 1<<53 {
				t.Fatalf("series %d: %v", n, v)
			} else {
				seen[v] = true
			}
		}
	}
}

func TestCheckAndLookupRefuse(t *testing.T) {
	for _, s := range []Shape{{}, {Series: 1, Samples: 1, Interval: 1, Values: "x"}, {Series: 1, Samples: 1, Values: Walk}, {Series: 1, Interval: 1, Values: Walk}} {
		if s.Check() == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
	if err := shape.Check(); err != nil {
		t.Error(err)
	}
	if _, err := shape.NewBatch("3.0", 0, 1); err == nil {
		t.Error("protocol 3.0 was accepted")
	}
	if _, err := shape.NewBatch(V1, 0, shape.Series+1); err == nil {
		t.Error("too many series were accepted")
	}
	for _, ls := range []labels.Labels{
		labels.EmptyLabels(),
		labels.FromStrings("__name__", "temperature", "device_id", "device-000001"),
		labels.FromStrings("__name__", "up", "device_id", "device-000001"),
		labels.FromStrings("__name__", "up", "device_id", "x"),
	} {
		if n, ok := Lookup(ls); ok {
			t.Errorf("%v is series %d", ls, n)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	s := shape
	s.Series, s.Samples = 2000, uniqueSteps
	batch, err := s.NewBatch(V1, 0, 2000)
	if err != nil {
		b.Fatal(err)
	}
	var body []byte
	for b.Loop() {
		body = batch.Append(body[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
}

// What is packed unpacks to the body that is not, whatever steps are asked for one after the other.
func TestPackedIsTheBody(t *testing.T) {
	for _, p := range []Protocol{V1, V2} {
		for _, start := range []int64{shape.Start, 1<<42 - 85_000} { // where the time takes a byte more
			s := shape
			s.Start = start
			a, _ := s.NewBatch(p, 3, 1234)
			b, _ := s.NewBatch(p, 3, 1234)
			for _, steps := range []int{1, 1, 3, 3, 1, 4, 100, 1} {
				want := a.AppendSteps(nil, steps)
				packed := b.Packed(steps)
				got, err := snappy.Decode(nil, packed)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s: %d steps until %d: %d bytes, want %d, %v", p, steps, b.Step(), len(got), len(want), err)
				}
				if p == V1 && steps == 1 && 2*len(packed) > len(want) {
					t.Errorf("%s: %d bytes were packed into %d", p, len(want), len(packed))
				}
			}
		}
	}
}

func BenchmarkPacked(b *testing.B) {
	s := shape
	s.Series, s.Samples = 2000, uniqueSteps
	batch, err := s.NewBatch(V1, 0, 2000)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.SetBytes(int64(len(batch.Packed(1))))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
	b.ReportMetric(float64(len(batch.Packed(1)))/2000, "B/sample")
	b.ReportMetric(float64(len(s2.EncodeSnappy(nil, batch.Append(nil))))/2000, "s2-B/sample")
}

func ExampleShape() {
	s := Shape{Series: 20, Samples: 3, Start: 1_700_000_000_000, Interval: 1000, Seed: 1, Values: Unique}
	fmt.Println(Labels(12))
	w := s.Walker(12)
	fmt.Println(w.Next(), w.Next(), s.End())
	// Output:
	// {__name__="pressure", building="building-01", device_id="device-000001", model="model-1", room="room-0000", site="site-1"}
	// 1.2e+08 1.20000001e+08 1700000002000
}

// A body of several steps holds what as many bodies of one step hold, of series that need not be adjacent, from any time on.
func TestStepsTravelTogether(t *testing.T) {
	for _, p := range []Protocol{V1, V2} {
		numbers := []int{7, 1200, 40}
		b, err := shape.BatchOf(p, numbers)
		if err != nil {
			t.Fatal(err)
		}
		b.Begin(17)
		var got [3][]prompb.Sample
		for _, steps := range []int{1, 4, 2} {
			body := b.AppendSteps(nil, steps)
			if p == V2 {
				var req writev2.Request
				if err := req.Unmarshal(body); err != nil {
					t.Fatal(err)
				}
				for i, ts := range req.Timeseries {
					for _, s := range ts.Samples {
						got[i] = append(got[i], prompb.Sample{Timestamp: s.Timestamp, Value: s.Value})
					}
				}
				continue
			}
			var req prompb.WriteRequest
			if err := req.Unmarshal(body); err != nil {
				t.Fatal(err)
			}
			for i, ts := range req.Timeseries {
				got[i] = append(got[i], ts.Samples...)
			}
		}
		for i, n := range numbers {
			if len(got[i]) != 7 {
				t.Fatalf("%s: series %d has %d samples", p, n, len(got[i]))
			}
			w := shape.Walker(n)
			for k, s := range got[i] {
				if at, v := shape.Time(17+k), w.Next(); s.Timestamp != at || s.Value != v {
					t.Errorf("%s: series %d: %v, want %v at %d", p, n, s, v, at)
				}
			}
		}
		if b.Step() != 24 || b.Len() != 3 {
			t.Errorf("%s: at step %d with %d series", p, b.Step(), b.Len())
		}
	}
	if _, err := shape.BatchOf(V1, []int{shape.Series}); err == nil {
		t.Error("a series that is not there was accepted")
	}
}
