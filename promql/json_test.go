package promql

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"unicode/utf8"

	jsoniter "github.com/json-iterator/go"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/jsonutil"
)

// theirs is what Prometheus's own encoder writes.
func theirs(write func(*jsoniter.Stream)) string {
	var b bytes.Buffer
	s := jsoniter.NewStream(jsoniter.ConfigCompatibleWithStandardLibrary, &b, 64)
	write(s)
	s.Flush()
	return b.String()
}

func checkFloat(t *testing.T, f float64) {
	t.Helper()
	want := theirs(func(s *jsoniter.Stream) { jsonutil.MarshalFloat(f, s) })
	if got := string(appendQuoted(nil, f)); got != want {
		t.Errorf("%x: got %s, want %s", math.Float64bits(f), got, want)
	}
}

func TestFloatsAsPrometheus(t *testing.T) {
	for _, f := range []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, -0.1, 0.5, 21.5, -21.57, 0.0001, 0.00001, 1e-6, 9.9e-7, 1e14, 1e15, 1e16, 999999999999999, 99999999999.9999, 1e20, 1e21, 1e22,
		math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1 + 0.2, 1.0 / 3, 123456.7891, 4503599627370497.5, 100, 1e3, 0.30000000000000004, 1.00005, 8.999999999999999,
	} {
		checkFloat(t, f)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		checkFloat(t, math.Float64frombits(r.Uint64()))
		checkFloat(t, float64(r.Int64N(1e7)-5e6)/math.Pow10(r.IntN(7)))
		f := float64(r.Int64N(1e15)) / math.Pow10(r.IntN(16))
		checkFloat(t, f)
		checkFloat(t, math.Nextafter(f, 0))
	}
}

func FuzzFloat(f *testing.F) {
	f.Add(uint64(0))
	f.Add(math.Float64bits(21.5))
	f.Fuzz(func(t *testing.T, bits uint64) { checkFloat(t, math.Float64frombits(bits)) })
}

func TestTimesAsPrometheus(t *testing.T) {
	for _, ms := range []int64{0, 1, 12, 123, 1234, -1, -999, -1000, -1001, 1_700_000_000_000, 1_700_000_000_050, math.MaxInt64} {
		want := theirs(func(s *jsoniter.Stream) { jsonutil.MarshalTimestamp(ms, s) })
		if got := string(appendTime(nil, ms)); got != want {
			t.Errorf("%d: got %s, want %s", ms, got, want)
		}
	}
	if got, want := string(appendTime(nil, math.MinInt64)), "-9223372036854775.808"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"", "plain", "ü\"\\\n\t\x00\x1f\x7f", "\xff\xfe", "a\xc3", "\u2028🌡️", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		want := string(bytes.ToValidUTF8([]byte(s), nil))
		if utf8.ValidString(s) && got != want {
			t.Errorf("%q became %q", s, got)
		}
		if !utf8.Valid(b) {
			t.Errorf("%q is not valid UTF-8", b)
		}
	})
}

func TestHistogramsAsPrometheus(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	hs := []*histogram.FloatHistogram{
		{}, {Count: 1, Sum: math.NaN()}, tsdbutil.GenerateTestFloatHistogram(3), tsdbutil.GenerateTestCustomBucketsFloatHistogram(5),
	}
	for range 50 {
		h := tsdbutil.GenerateTestFloatHistogram(r.Int64N(100))
		for i := range h.PositiveBuckets {
			h.PositiveBuckets[i] *= float64(r.IntN(3)) * r.Float64()
		}
		h.Schema = int32(r.IntN(12) - 4)
		hs = append(hs, h)
	}
	for _, h := range hs {
		want := theirs(func(s *jsoniter.Stream) { jsonutil.MarshalHistogram(h, s) })
		if got := string(appendHistogram(nil, h)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAcceptable(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "zstd, gzip": "zstd", "GZIP": "gzip", "*": "gzip",
		"gzip;q=1, zstd;q=0.5": "gzip", "zstd;q=0": "", "gzip;q=0, zstd;q=0": "", "gzip;q=x": "", " gzip ; q=0.5 ": "gzip", "gzip;q=0.5, zstd;q=0.5": "zstd", "gzip;q=NaN": "",
		",,,": "", "br": "",
	} {
		if got := acceptable(header); got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}

// bigMatrix is a result of n series with p points each, as sensors make them.
func bigMatrix(n, p int) prom.Matrix {
	m := make(prom.Matrix, n)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range m {
		m[i].Metric = labels.FromStrings("__name__", "temperature", "device_id", "device-"+strconv.Itoa(i), "site", "north", "unit", "celsius")
		m[i].Floats = make([]prom.FPoint, p)
		for j := range m[i].Floats {
			m[i].Floats[j] = prom.FPoint{T: 1_700_000_000_000 + int64(j)*15_000, F: float64(2000+r.IntN(500)) / 100}
		}
	}
	return m
}

func TestStreamedAnswersAreWhole(t *testing.T) {
	m := bigMatrix(200, 360)
	a := NewAPI(Options{})
	defer a.Close()
	for _, encoding := range []string{"", "gzip", "zstd"} {
		for round := range 3 { // pooled compressors start anew
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/api/v1/query_range", nil)
			r.Header.Set("Accept-Encoding", encoding)
			a.answer(w, r, reply{data: func(e *encoder) { e.queryData(m, nil) }})
			if got := w.Header().Get("Content-Encoding"); got != encoding {
				t.Fatalf("encoding %q, want %q", got, encoding)
			}
			var answer struct {
				Data struct {
					Result []struct {
						Metric map[string]string
						Values [][2]any
					}
				}
			}
			if err := json.Unmarshal(decompress(t, encoding, w.Body), &answer); err != nil {
				t.Fatalf("%s, round %d: %v", encoding, round, err)
			}
			for i, s := range answer.Data.Result {
				for j, p := range s.Values {
					f, _ := strconv.ParseFloat(p[1].(string), 64)
					if want := m[i].Floats[j]; f != want.F || p[0].(float64) != float64(want.T)/1000 {
						t.Fatalf("series %d point %d: got %v, want %v", i, j, p, want)
					}
				}
			}
			if len(answer.Data.Result) != len(m) {
				t.Fatalf("%d series of %d", len(answer.Data.Result), len(m))
			}
		}
	}
}

func decompress(t testing.TB, encoding string, r io.Reader) []byte {
	t.Helper()
	var err error
	switch encoding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Labels that are answered again come from memory, and are those of the series: also when the hashes of two are in one place.
func TestLabelsAnsweredAgain(t *testing.T) {
	es := newEncoders()
	r := rand.New(rand.NewPCG(5, 5))
	hot := 0
	for range 20_000 {
		ls := labels.FromStrings("__name__", "m", "device", strconv.Itoa(r.IntN(5)*r.IntN(2000)), "quote", `"`)
		if _, ok := es.texts.Get(ls.Hash()); ok {
			hot++
		}
		e := es.get(io.Discard)
		e.labels(ls)
		if got, want := string(e.buf), string(appendLabels(nil, ls)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		es.put(e)
	}
	if hot < 1000 {
		t.Errorf("%d of 20000 came from memory", hot)
	}
	ls := labels.FromStrings("a", "b")
	es.texts.Put(ls.Hash(), labelsText{labels.FromStrings("other", "labels"), []byte("wrong")}, 1)
	e := es.get(io.Discard)
	if e.labels(ls); string(e.buf) != `{"a":"b"}` {
		t.Errorf("got %s of other labels with the same hash", e.buf)
	}
}

// A client that is gone stops the encoder.
func TestEncoderStopsAtTheFirstError(t *testing.T) {
	w := &brokenWriter{}
	e := newEncoders().get(w)
	e.queryData(bigMatrix(1000, 360), nil)
	if e.err != io.ErrClosedPipe || w.writes != 1 {
		t.Errorf("err %v after %d writes", e.err, w.writes)
	}
}

type brokenWriter struct{ writes int }

func (w *brokenWriter) Write([]byte) (int, error) { w.writes++; return 0, io.ErrClosedPipe }

// 10,000 series of 360 points.
func BenchmarkEncodeMatrix(b *testing.B) {
	m := bigMatrix(10_000, 360)
	a := NewAPI(Options{})
	defer a.Close()
	for _, encoding := range []string{"plain", "gzip", "zstd"} {
		b.Run(encoding, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept-Encoding", encoding)
			for b.Loop() {
				w := &counter{h: http.Header{}}
				a.answer(w, r, reply{data: func(e *encoder) { e.queryData(m, nil) }})
				b.ReportMetric(float64(w.n), "bytes")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(10_000*360), "ns/point")
		})
	}
}

type counter struct {
	h http.Header
	n int
}

func (c *counter) Header() http.Header         { return c.h }
func (c *counter) WriteHeader(int)             {}
func (c *counter) Write(b []byte) (int, error) { c.n += len(b); return len(b), nil }
