package remote

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/minitrue/minitrue/chunk/series"
)

// The decoder finds in a request what Prometheus's generated code finds in it.
func TestDecodeV1EqualsPrometheus(t *testing.T) {
	d := newDecoder()
	for seed := range uint64(500) {
		wire, err := randomV1(rand.New(rand.NewPCG(seed, 1))).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var req prompb.WriteRequest // with what encoding leaves out left out
		if err := req.Unmarshal(wire); err != nil {
			t.Fatal(err)
		}
		d.reset()
		d.lease.release()
		if err := d.decodeV1(wire); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, want := lines(&d.batch), linesV1(&req); !slices.Equal(got, want) || d.batch.Rejected.Any() {
			t.Fatalf("seed %d:\n got %q\nwant %q\nrejected %+v", seed, got, want, d.batch.Rejected)
		}
	}
}

func TestDecodeV2EqualsPrometheus(t *testing.T) {
	d := newDecoder()
	for seed := range uint64(500) {
		wire, err := randomV2(rand.New(rand.NewPCG(seed, 2))).OptimizedMarshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		var req writev2.Request
		if err := req.Unmarshal(wire); err != nil {
			t.Fatal(err)
		}
		d.reset()
		d.lease.release()
		if err := d.decodeV2(wire); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, ok := linesV2(&req)
		if got := lines(&d.batch); !ok || !slices.Equal(got, want) || d.batch.Rejected.Any() {
			t.Fatalf("seed %d:\n got %q\nwant %q\nrejected %+v", seed, got, want, d.batch.Rejected)
		}
	}
}

// field is a length-delimited field; lists of them make requests that no encoder makes.
func field(num int, parts ...[]byte) []byte {
	return appendBytesField(nil, byte(num<<3|wireBytes), slices.Concat(parts...))
}

func label(n, v string) []byte { return series.AppendLabel(nil, n, v) }

func TestDecodeV1OddButLegal(t *testing.T) {
	key := slices.Concat(label("__name__", "up"), label("job", "x"))
	sample := appendSample(nil, 5, 7)
	canonical := slices.Concat(key, sample)
	rows := []struct {
		name string
		ts   []byte
	}{
		{"as encoders write it", canonical},
		{"sample first", slices.Concat(sample, key)},
		{"sample between labels", slices.Concat(label("__name__", "up"), sample, label("job", "x"))},
		{"unknown field between labels", slices.Concat(label("__name__", "up"), []byte{0x78, 1}, label("job", "x"), sample)},
		{"unknown group", slices.Concat(key, []byte{0x7b, 0x08, 1, 0x7c}, sample)},
		{"tag of two bytes", slices.Concat([]byte{0x8a, 0}, label("__name__", "up")[1:], label("job", "x"), sample)},
		{"time before value", slices.Concat(key, field(2, []byte{0x10, 5, 0x09, 0, 0, 0, 0, 0, 0, 0x1c, 0x40}))},
		{"last value wins", slices.Concat(key, field(2, []byte{0x10, 9, 0x09, 0, 0, 0, 0, 0, 0, 0x1c, 0x40, 0x10, 5}))},
		{"unknown field in a sample", slices.Concat(key, field(2, []byte{0x09, 0, 0, 0, 0, 0, 0, 0x1c, 0x40, 0x10, 5, 0x1d, 1, 2, 3, 4}))},
	}
	for _, r := range rows {
		d := newDecoder()
		if err := d.decodeV1(field(1, r.ts)); err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		b := d.batch
		if len(b.Series) != 1 || string(b.Series[0].Key) != string(key) || !slices.Equal(b.Samples, []series.Sample{{T: 5, V: 7}}) {
			t.Errorf("%s: %+v", r.name, b)
		}
	}
}

// Keys and samples lie in memory that only the request decides about: a second series must not
// write over the first one's key.
func TestDecodeKeysAreApart(t *testing.T) {
	d := newDecoder()
	var wire []byte
	for i := range 300 {
		wire = append(wire, field(1, label("__name__", fmt.Sprint("m", i)), appendSample(nil, 1, 1), label("x", strings.Repeat("y", i)))...)
	}
	if err := d.decodeV1(wire); err != nil {
		t.Fatal(err)
	}
	for i, e := range d.batch.Series {
		want := slices.Concat(label("__name__", fmt.Sprint("m", i)), label("x", strings.Repeat("y", i)))
		if string(e.Key) != string(want) || cap(e.Key) != len(e.Key) {
			t.Fatalf("series %d: %q", i, e.Key)
		}
	}
}

func TestDecodeV2RefusesAlone(t *testing.T) {
	sample := field(2, []byte{0x09, 0, 0, 0, 0, 0, 0, 0x1c, 0x40, 0x10, 5})
	good := slices.Concat(field(1, []byte{1, 2}), sample)
	symbols := slices.Concat(field(4), field(4, []byte("__name__")), field(4, []byte("up")))
	rows := []struct {
		name   string
		ts     []byte
		reason string
		n      counts // rejected
	}{
		{"good", good, "", counts{}},
		{"references not packed", slices.Concat([]byte{0x08, 1, 0x08, 2}, sample), "", counts{}},
		{"odd", slices.Concat(field(1, []byte{1, 2, 1}), sample), "symbol_refs_odd", counts{samples: 1}},
		{"out of range", slices.Concat(field(1, []byte{1, 3}), sample, sample), "symbol_ref", counts{samples: 2}},
		{"far out of range", slices.Concat(field(1, []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}), sample), "symbol_ref", counts{samples: 1}},
		{"help out of range", slices.Concat(good, field(5, []byte{0x18, 9})), "symbol_ref", counts{samples: 1}},
		{"unit out of range", slices.Concat(good, field(5, []byte{0x20, 9})), "symbol_ref", counts{samples: 1}},
		{"nothing in it", field(1, []byte{1, 2}), "series_empty", counts{}},
		{"only an exemplar", slices.Concat(field(1, []byte{1, 2}), field(4, []byte{0x18, 7})), "series_empty", counts{exemplars: 1}},
		{"exemplar out of range", slices.Concat(good, field(4, field(1, []byte{1, 9}))), "symbol_ref", counts{exemplars: 1}},
		{"exemplar odd", slices.Concat(good, field(4, field(1, []byte{1}))), "symbol_refs_odd", counts{exemplars: 1}},
		{"bad histogram", slices.Concat(good, field(3, []byte{0x08, 9})), "histogram_invalid", counts{histograms: 1}},
	}
	for _, r := range rows {
		for _, order := range [][]byte{
			slices.Concat(symbols, field(5, good), field(5, r.ts), field(5, good)),
			slices.Concat(field(5, good), field(5, r.ts), field(5, good), symbols), // the table may come last
		} {
			d := newDecoder()
			if err := d.decodeV2(order); err != nil {
				t.Errorf("%s: %v", r.name, err)
				continue
			}
			rej := d.batch.Rejected
			if n := (counts{rej.Samples, rej.Histograms, rej.Exemplars}); n != r.n {
				t.Errorf("%s: rejected %+v, want %+v", r.name, n, r.n)
			}
			if _, ok := rej.Reasons[r.reason]; ok != (r.reason != "") || rej.Any() != ok {
				t.Errorf("%s: reasons %v, want %q", r.name, rej.Reasons, r.reason)
			}
			if ok := rej.Any(); ok && (len(rej.Errs) != 1 || !strings.Contains(rej.Errs[0].Error(), "series 1 of the request")) {
				t.Errorf("%s: errors %v do not name the series", r.name, rej.Errs)
			}
			up := string(label("__name__", "up"))
			if b := d.batch; len(b.Series) < 2 || string(b.Series[0].Key) != up || string(b.Series[len(b.Series)-1].Key) != up || len(b.Samples) < 2 {
				t.Errorf("%s: the good series are not there: %+v", r.name, b)
			}
		}
	}
}
