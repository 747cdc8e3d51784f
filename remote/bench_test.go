package remote

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/minitrue/minitrue/chunk/series"
)

// benchRequests are 2,000 series of six labels with a sample each, in both versions.
func benchRequests(tb testing.TB) (v1, v2 []byte) {
	st := writev2.NewSymbolTable()
	one, two := &prompb.WriteRequest{}, &writev2.Request{}
	for i := range 2000 {
		ls := labels.FromStrings("__name__", fmt.Sprintf("sensor_metric_%d", i%50), "device_id", fmt.Sprintf("device-%06d", i),
			"instance", "10.0.0.1:9100", "job", "sensors", "region", "eu-west-1", "site", fmt.Sprintf("site-%d", i%20))
		one.Timeseries = append(one.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil),
			Samples: []prompb.Sample{{Timestamp: 1_700_000_000_000 + int64(i), Value: float64(i) / 3}}})
		two.Timeseries = append(two.Timeseries, writev2.TimeSeries{LabelsRefs: st.SymbolizeLabels(ls, nil),
			Samples:  []writev2.Sample{{Timestamp: 1_700_000_000_000 + int64(i), Value: float64(i) / 3}},
			Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: st.Symbolize(fmt.Sprintf("Help of metric %d.", i%50))}})
	}
	two.Symbols = st.Symbols()
	v1, err := one.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	v2, err = two.OptimizedMarshal(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return v1, v2
}

// decodeAgain is a request after the first on the same memory.
func decodeAgain(d *decoder, decode func([]byte) error, wire []byte) error {
	d.reset()
	d.lease.release()
	return decode(wire)
}

func benchmarkDecode(b *testing.B, wire []byte, decode func(*decoder) func([]byte) error) {
	d := newDecoder()
	b.ReportAllocs()
	for b.Loop() {
		if err := decodeAgain(d, decode(d), wire); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/series")
}

func BenchmarkDecodeV1(b *testing.B) {
	wire, _ := benchRequests(b)
	benchmarkDecode(b, wire, func(d *decoder) func([]byte) error { return d.decodeV1 })
}

func BenchmarkDecodeV2(b *testing.B) {
	_, wire := benchRequests(b)
	benchmarkDecode(b, wire, func(d *decoder) func([]byte) error { return d.decodeV2 })
}

// nowhere takes everything.
type nowhere struct{}

func (nowhere) Append(context.Context, *series.Batch) error { return nil }

// BenchmarkWriteHandler is the whole door, snappy included, HTTP parsing excluded.
func BenchmarkWriteHandler(b *testing.B) {
	v1, v2 := benchRequests(b)
	for _, r := range []struct {
		name, content string
		plain         []byte
	}{{"1.0", contentV1, v1}, {"2.0", contentV2, v2}} {
		b.Run(r.name, func(b *testing.B) {
			body := snappy.Encode(nil, r.plain)
			h := NewWriteHandler(nowhere{}, WriteOptions{})
			req := httptest.NewRequest(http.MethodPost, "/", nil)
			req.Header.Set("Content-Type", r.content)
			req.ContentLength = int64(len(body))
			b.ReportAllocs()
			for b.Loop() {
				req.Body = readCloser{bytes.NewReader(body)}
				h.ServeHTTP(httptest.NewRecorder(), req)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/series")
		})
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// Decoding on memory of earlier requests allocates nothing, however many series there are.
func TestDecodeDoesNotAllocate(t *testing.T) {
	v1, v2 := benchRequests(t)
	d := newDecoder()
	for name, f := range map[string]func(){
		"1.0": func() { decodeAgain(d, d.decodeV1, v1) },
		"2.0": func() { decodeAgain(d, d.decodeV2, v2) },
	} {
		f()
		if n := testing.AllocsPerRun(10, f); n > 2 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
