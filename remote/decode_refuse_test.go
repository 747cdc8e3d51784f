package remote

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk/series"
)

func TestDecodeHistograms(t *testing.T) {
	good := prompb.FromIntHistogram(5, tsdbutil.GenerateTestHistogram(3))
	change := func(f func(*prompb.Histogram)) prompb.Histogram {
		h := prompb.FromIntHistogram(5, tsdbutil.GenerateTestHistogram(3))
		f(&h)
		return h
	}
	rows := []struct {
		name, text string // text of the refusal
		h          prompb.Histogram
	}{
		{"good", "", good},
		{"empty", "", prompb.Histogram{}},
		{"schema 20 is reduced", "", change(func(h *prompb.Histogram) { h.Schema = 20 })},
		{"unknown reset hint", "", change(func(h *prompb.Histogram) { h.ResetHint = 77 })},
		{"schema 100", "schema", change(func(h *prompb.Histogram) { h.Schema = 100 })},
		{"schema -8", "schema", change(func(h *prompb.Histogram) { h.Schema = -8 })},
		{"count too small", "observations found in buckets", change(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountInt{CountInt: 1} })},
		{"float count of integer buckets", "mixes", change(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountFloat{CountFloat: 1} })},
		{"float zero count", "mixes", change(func(h *prompb.Histogram) { h.ZeroCount = &prompb.Histogram_ZeroCountFloat{ZeroCountFloat: 1} })},
		{"float buckets too", "mixes", change(func(h *prompb.Histogram) { h.PositiveCounts = []float64{1} })},
		{"span without buckets", "buckets", change(func(h *prompb.Histogram) { h.PositiveSpans[0].Length = 77 })},
		{"span that overflows", "span", change(func(h *prompb.Histogram) {
			h.PositiveSpans = append(h.PositiveSpans, prompb.BucketSpan{Offset: math.MaxInt32}, prompb.BucketSpan{Offset: math.MaxInt32})
		})},
		{"negative bucket", "negative", change(func(h *prompb.Histogram) { h.PositiveDeltas[0] = -100 })},
		{"NaN bound", "NaN", change(func(h *prompb.Histogram) { h.Schema = -53; h.CustomValues = []float64{math.NaN()} })},
	}
	for _, r := range rows {
		req := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "h"}},
			Histograms: []prompb.Histogram{good, r.h, good}}}}
		wire, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		d := newDecoder()
		if err := d.decodeV1(wire); err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		rej := d.batch.Rejected
		want := 0
		if r.text != "" {
			want = 1
		}
		if rej.Histograms != want || len(d.batch.Histograms) != 3-want || rej.Reasons["histogram_invalid"] != want {
			t.Errorf("%s: rejected %+v", r.name, rej)
		}
		if want == 1 && !strings.Contains(rej.Errs[0].Error(), r.text) {
			t.Errorf("%s: %v does not say %q", r.name, rej.Errs[0], r.text)
		}
		for _, h := range d.batch.Histograms {
			if h.Int == nil || h.Int.Validate() != nil || h.Int.CounterResetHint > 3 {
				t.Errorf("%s: %+v", r.name, h)
			}
		}
	}
}

func TestDecodeExemplarLabels(t *testing.T) {
	rows := []struct {
		name, reason string
		ls           []prompb.Label
	}{
		{"none", "", nil},
		{"128 characters", "", []prompb.Label{{Name: "n", Value: strings.Repeat("ü", 127)}}},
		{"129 characters", "exemplar_length", []prompb.Label{{Name: "n", Value: strings.Repeat("ü", 128)}}},
		{"129 characters in two", "exemplar_length", []prompb.Label{{Name: "n", Value: strings.Repeat("x", 100)}, {Name: "m", Value: strings.Repeat("x", 27)}}},
		{"twice", "exemplar_labels", []prompb.Label{{Name: "n", Value: "a"}, {Name: "n", Value: "b"}}},
		{"no name", "exemplar_labels", []prompb.Label{{Value: "a"}}},
		{"bad UTF-8", "exemplar_labels", []prompb.Label{{Name: "n", Value: "\xff"}}},
		{"1,000 without name", "exemplar_labels", make([]prompb.Label, 1000)},
	}
	for _, r := range rows {
		ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "h"}}, Exemplars: []prompb.Exemplar{{Labels: r.ls, Value: 2, Timestamp: 3}}}
		wire, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{ts}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		d := newDecoder()
		if err := d.decodeV1(wire); err != nil {
			t.Fatal(err)
		}
		if d.batch.Rejected.Reasons[r.reason] != min(1, len(r.reason)) || len(d.batch.Exemplars)+d.batch.Rejected.Exemplars != 1 {
			t.Errorf("%s: %+v", r.name, d.batch)
		}
	}
}

// Two bytes of a request may stand for hundreds in memory: the account stops it.
func TestDecodeExpansionIsBounded(t *testing.T) {
	const max = 8 << 20
	repeat := func(n int, b ...byte) []byte { return slices.Repeat(b, n) }
	big := field(4, repeat(1<<20, 'x'))
	rows := []struct {
		name string
		v2   bool
		wire []byte
	}{
		{"empty samples", false, field(1, repeat(2<<20, 0x12, 0))},
		{"empty histograms", false, field(1, repeat(1<<20, 0x22, 0))},
		{"empty exemplars", false, field(1, repeat(1<<20, 0x1a, 0))},
		{"series of one empty sample", false, repeat(1<<20, 0x0a, 2, 0x12, 0)},
		{"short metadata", false, repeat(1<<20, 0x1a, 3, 0x12, 1, 'x')},
		{"symbols", true, repeat(2<<20, 0x22, 0)},
		{"keys of large symbols", true, slices.Concat(field(4), big, field(5, field(1, repeat(1<<20, 1)), field(2)))},
		{"references", true, slices.Concat(field(4), field(5, field(1, repeat(8<<20, 1)), field(2)))},
	}
	for _, r := range rows {
		d := &decoder{lease: lease{from: &budget{max: max}}}
		decode := d.decodeV1
		if r.v2 {
			decode = d.decodeV2
		}
		var re *requestError
		if err := decode(r.wire); !errors.As(err, &re) || re.code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %v", r.name, err)
		}
		if d.footprint() > max || d.lease.held > max {
			t.Errorf("%s: %d bytes, %d charged", r.name, d.footprint(), d.lease.held)
		}
	}
}

// A series's labels are looked up once a request and its metadata repeats: no text is allocated twice.
func TestMetadataIsKeptOnce(t *testing.T) {
	st := writev2.NewSymbolTable()
	req := &writev2.Request{}
	for i := range 100 {
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
			LabelsRefs: st.SymbolizeLabels(labels.FromStrings("__name__", "up", "n", fmt.Sprint(i)), nil),
			Samples:    []writev2.Sample{{}}, Metadata: writev2.Metadata{Type: 2, HelpRef: st.Symbolize("help")}})
	}
	req.Symbols = st.Symbols()
	wire, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	d := newDecoder()
	if err := d.decodeV2(wire); err != nil {
		t.Fatal(err)
	}
	if want := []series.Metadata{{Family: "up", Type: "gauge", Help: "help"}}; !slices.Equal(d.batch.Metadata, want) {
		t.Fatalf("%+v", d.batch.Metadata)
	}
	clear(wire) // texts of metadata outlive the request
	if d.batch.Metadata[0].Help != "help" {
		t.Fatal("the help text aliases the request")
	}
}
