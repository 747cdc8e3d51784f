package remote

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// promise is a snappy block whose header promises n bytes, in front of a few.
func promise(n uint64) []byte { return append(binary.AppendUvarint(nil, n), 0, 'x') }

// Each hostile request gets a clear 4xx, allocates little, and leaves the handler working.
func TestWriteHostile(t *testing.T) {
	var many, nameless []byte
	for i := range 100_000 {
		many = append(many, label(fmt.Sprintf("l%06d", i), "v")...)
	}
	nameless = label("job", "x")
	sample := appendSample(nil, 5, 7)
	ts := func(key ...[]byte) []byte {
		return slices.Concat(oneV1, field(1, append(key, sample)...))
	}
	rows := []struct {
		name   string
		body   []byte // compressed when plain is nil
		plain  []byte
		code   int
		text   string
		stored bool // the good series of the request
	}{
		{name: "empty body", body: []byte{}, code: 400, text: "empty"},
		{name: "promise of 4 GiB", body: promise(1<<32 - 1), code: 413, text: "larger than"},
		{name: "promise of more than 4 GiB", body: promise(1 << 40), code: 400, text: "snappy"},
		{name: "promise of 100 MiB in few bytes", body: promise(100 << 20), code: 400, text: "promises"},
		{name: "header that does not end", body: bytes.Repeat([]byte{0xff}, 20), code: 400, text: "snappy"},
		{name: "not snappy", body: []byte("hello, world"), code: 400, text: "snappy"},
		{name: "framed snappy", body: []byte("\xff\x06\x00\x00sNaPpY\x00"), code: 400, text: "snappy"},
		{name: "protobuf without snappy", body: oneV1, code: 400, text: "snappy"},
		{name: "text in snappy", plain: []byte("hello, world"), code: 400, text: "malformed protobuf"},
		{name: "wire type 7", plain: []byte{0x0f}, code: 400, text: "at byte 0"},
		{name: "field 0", plain: []byte{0x02, 0}, code: 400, text: "at byte 0"},
		{name: "group that does not end", plain: bytes.Repeat([]byte{0x7b}, 1<<20), code: 400, text: "at byte 0"},
		{name: "series longer than the message", plain: []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, code: 400, text: "at byte 0"},
		{name: "bad sample", plain: slices.Concat(oneV1, field(1, label("__name__", "x"), field(2, []byte{0x09, 1}))), code: 400, text: "a sample at byte"},
		{name: "empty message", plain: []byte{}, code: 204},
		{name: "unsorted", plain: ts(label("b", "x"), label("__name__", "x")), code: 400, text: "sorted", stored: true},
		{name: "duplicate label", plain: ts(label("__name__", "x"), label("a", "1"), label("a", "2")), code: 400, text: "twice", stored: true},
		{name: "empty label name", plain: ts(label("", "x"), label("__name__", "x")), code: 400, text: "empty name", stored: true},
		{name: "empty label value", plain: ts(label("__name__", "")), code: 400, text: "empty value", stored: true},
		{name: "long label name", plain: ts(label("__name__", "x"), label(strings.Repeat("x", 2000), "x")), code: 400, text: "2000 bytes", stored: true},
		{name: "long label value", plain: ts(label("__name__", strings.Repeat("x", 20_000))), code: 400, text: "20000 bytes", stored: true},
		{name: "invalid UTF-8 value", plain: ts(label("__name__", "\xff\xfe")), code: 400, text: "UTF-8", stored: true},
		{name: "invalid UTF-8 name", plain: ts(label("\xff", "x"), label("__name__", "x")), code: 400, text: "", stored: true},
		{name: "no metric name", plain: ts(nameless), code: 400, text: "__name__", stored: true},
		{name: "no labels", plain: ts(), code: 400, text: "__name__", stored: true},
		{name: "100,000 labels", plain: ts(many), code: 400, text: "labels", stored: true},
		{name: "malformed label", plain: ts([]byte{0x0a, 2, 0x0a, 9}), code: 400, text: "malformed", stored: true},
	}
	for _, r := range rows {
		m := newMemory()
		h := NewWriteHandler(m, WriteOptions{})
		body := r.body
		if r.plain != nil {
			body = snappy.Encode(nil, r.plain)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := post(h, body, "Content-Type", contentV1, "Content-Encoding", "snappy")
		runtime.ReadMemStats(&after)
		if w.Code != r.code || !strings.Contains(w.Body.String(), r.text) {
			t.Errorf("%s: %d %s", r.name, w.Code, w.Body)
		}
		if (len(m.series) == 1) != r.stored {
			t.Errorf("%s: %d series stored", r.name, len(m.series))
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
			t.Errorf("%s: %d bytes allocated", r.name, grown)
		}
		if w := postV1(h, oneV1); w.Code != 204 {
			t.Errorf("%s: the next request got %d", r.name, w.Code)
		}
	}
}

// NaN, infinities and times at all ends are data like any other.
func TestWriteStrangeSamplesAreStored(t *testing.T) {
	m := newMemory()
	h := NewWriteHandler(m, WriteOptions{})
	for _, at := range []int64{0, -1, 1, math.MinInt64, math.MaxInt64, 1 << 60} {
		for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			if w := postV1(h, field(1, label("__name__", "up"), appendSample(nil, at, v))); w.Code != 204 {
				t.Errorf("%v at %d: %d %s", v, at, w.Code, w.Body)
			}
		}
	}
	if n := len(m.all()[0].samples); n != 6 {
		t.Errorf("%d samples", n)
	}
}

func TestWriteV2Hostile(t *testing.T) {
	sample := appendSample(nil, 5, 7)
	series := field(5, field(1, []byte{1, 2}), sample)
	rows := []struct {
		name, text string
		plain      []byte
		stored     bool
	}{
		{"no symbols", "symbol table", series, false},
		{"first symbol is not empty", "must be the empty string", slices.Concat(field(4, []byte("x")), series), false},
		{"references out of range", "label reference 9", slices.Concat(oneV2, field(5, field(1, []byte{1, 9}), sample)), true},
		{"odd references", "3 label references", slices.Concat(oneV2, field(5, field(1, []byte{1, 2, 1}), sample)), true},
		{"empty series", "neither samples nor histograms", slices.Concat(oneV2, field(5, field(1, []byte{1, 2}))), true},
		{"references that do not end", "malformed", slices.Concat(oneV2, field(5, field(1, []byte{1, 0x80}), sample)), false},
		{"symbols of another type", "malformed", []byte{0x20, 1}, false},
		{"series of another type", "malformed", slices.Concat(field(4), []byte{0x28, 1}), false},
		{"bad metadata", "malformed", slices.Concat(oneV2, field(5, field(1, []byte{1, 2}), sample, field(5, []byte{0x0a}))), false},
		{"no labels", "__name__", slices.Concat(oneV2, field(5, sample)), true},
		{"duplicate label", "twice", slices.Concat(oneV2, field(5, field(1, []byte{1, 2, 1, 2}), sample)), true},
	}
	for _, r := range rows {
		m := newMemory()
		w := postV2(NewWriteHandler(m, WriteOptions{}), r.plain)
		if w.Code != 400 || !strings.Contains(w.Body.String(), r.text) {
			t.Errorf("%s: %d %s", r.name, w.Code, w.Body)
		}
		want := "0 0 0"
		if r.stored {
			want = "1 0 0"
		}
		if (len(m.series) == 1) != r.stored || written(w) != want {
			t.Errorf("%s: %d series stored, written %s", r.name, len(m.series), written(w))
		}
	}
}

// A request that is cut, or has a byte changed, anywhere is answered with a 2xx or a 4xx, never worse.
func TestWriteDamagedAtEveryByte(t *testing.T) {
	one, err := randomV1(rand.New(rand.NewPCG(3, 3))).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	two, err := randomV2(rand.New(rand.NewPCG(3, 4))).OptimizedMarshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := NewWriteHandler(newMemory(), WriteOptions{})
	for contentType, plain := range map[string][]byte{contentV1: one, contentV2: two} {
		send := func(what string, body []byte, mustFail bool) {
			w := post(h, body, "Content-Type", contentType)
			if w.Code/100 != 4 && (w.Code != http.StatusNoContent || mustFail) {
				t.Errorf("%s, %s: %d %s", contentType, what, w.Code, w.Body)
			}
		}
		whole := snappy.Encode(nil, plain)
		for i := range whole {
			send(fmt.Sprintf("snappy cut at %d", i), whole[:i], true)
			for _, x := range []byte{0x01, 0x80, 0xff} {
				changed := slices.Clone(whole)
				changed[i] ^= x
				send(fmt.Sprintf("snappy changed at %d", i), changed, false)
			}
		}
		for i := range plain {
			send(fmt.Sprintf("protobuf cut at %d", i), snappy.Encode(nil, plain[:i]), false)
			for _, x := range []byte{0x01, 0x07, 0x80, 0xff} {
				changed := slices.Clone(plain)
				changed[i] ^= x
				send(fmt.Sprintf("protobuf changed at %d", i), snappy.Encode(nil, changed), false)
			}
		}
	}
}

// A message cut inside a series is refused whole: what was read before the cut is not stored.
func TestWriteCutStoresNothing(t *testing.T) {
	for contentType, plain := range map[string][]byte{contentV1: slices.Repeat(oneV1, 3), contentV2: slices.Concat(oneV2, oneV2[len(oneV2)-19:])} {
		for i := len(plain) - 1; i > len(plain)-15; i-- {
			m := newMemory()
			w := post(NewWriteHandler(m, WriteOptions{}), snappy.Encode(nil, plain[:i]), "Content-Type", contentType)
			if w.Code != 400 || m.appends != 0 || written(w) != "0 0 0" {
				t.Errorf("%s cut at %d: %d, %d appends", contentType, i, w.Code, m.appends)
			}
		}
	}
}

func TestReadHostile(t *testing.T) {
	query := func(q *prompb.Query, types ...prompb.ReadRequest_ResponseType) []byte {
		b, err := (&prompb.ReadRequest{Queries: []*prompb.Query{q}, AcceptedResponseTypes: types}).Marshal()
		if err != nil {
			panic(err)
		}
		return b
	}
	matcher := func(typ prompb.LabelMatcher_Type, n, v string) []byte {
		return query(&prompb.Query{EndTimestampMs: 9, Matchers: []*prompb.LabelMatcher{{Type: typ, Name: n, Value: v}}})
	}
	rows := []struct {
		name        string
		body, plain []byte
		contentType string
		code        int
		text        string
	}{
		{name: "empty body", body: []byte{}, code: 400, text: "empty"},
		{name: "promise of 4 GiB", body: promise(1<<32 - 1), code: 413, text: "larger than"},
		{name: "promise of 1 MB in few bytes", body: promise(1 << 20), code: 400, text: "promises"},
		{name: "not snappy", body: []byte("hello, world"), code: 400, text: "snappy"},
		{name: "large body", body: make([]byte, 2<<20), code: 413, text: "larger than"},
		{name: "text in snappy", plain: []byte("hello, world"), code: 400, text: "malformed protobuf"},
		{name: "bad regular expression", plain: matcher(prompb.LabelMatcher_RE, "job", "a("), code: 400, text: "regular expression"},
		{name: "huge repetition", plain: matcher(prompb.LabelMatcher_NRE, "job", "((a{1000}){1000}){1000}"), code: 400, text: "regular expression"},
		{name: "an expression that takes gigabytes to match", plain: matcher(prompb.LabelMatcher_RE, "job", strings.Repeat("(a|b)?", 20_000)), code: 400, text: "too complex"},
		{name: "unknown matcher", plain: matcher(9, "job", "a"), code: 400, text: `unknown type 9`},
		{name: "unknown form", plain: query(&prompb.Query{}, 7, 8), code: 400, text: "STREAMED_XOR_CHUNKS"},
		{name: "1,001 queries", plain: bytes.Repeat([]byte{0x0a, 0}, 1001), code: 400, text: "at most 1000"},
		{name: "JSON", plain: matcher(prompb.LabelMatcher_EQ, "job", "a"), contentType: "application/json", code: 415, text: "application/x-protobuf"},
		{name: "no queries", plain: []byte{}, code: 200},
		{name: "end before start", plain: query(&prompb.Query{StartTimestampMs: 9, EndTimestampMs: -9}), code: 200},
		{name: "all times", plain: query(&prompb.Query{StartTimestampMs: math.MinInt64, EndTimestampMs: math.MaxInt64}), code: 200},
		{name: "invalid UTF-8", plain: matcher(prompb.LabelMatcher_EQ, "\xff", "\xfe"), code: 200},
	}
	h := NewReadHandler(newMemory(), ReadOptions{})
	for _, r := range rows {
		if r.plain != nil {
			r.body = snappy.Encode(nil, r.plain)
		}
		header := []string{"Content-Encoding", "snappy"}
		if r.contentType != "" {
			header = append(header, "Content-Type", r.contentType)
		}
		if w := post(h, r.body, header...); w.Code != r.code || !strings.Contains(w.Body.String(), r.text) {
			t.Errorf("%s: %d %s", r.name, w.Code, w.Body)
		}
	}
	plain := query(&prompb.Query{StartTimestampMs: 1, EndTimestampMs: 9, Hints: &prompb.ReadHints{Func: "rate", Grouping: []string{"job"}},
		Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "job", Value: "a.*"}}}, prompb.ReadRequest_STREAMED_XOR_CHUNKS)
	for i := range plain {
		for _, x := range []byte{0x01, 0x07, 0x80, 0xff} {
			changed := slices.Clone(plain)
			changed[i] ^= x
			for _, b := range [][]byte{changed, plain[:i]} {
				if w := post(h, snappy.Encode(nil, b)); w.Code != 200 && w.Code != 400 {
					t.Errorf("damaged at %d: %d %s", i, w.Code, w.Body)
				}
			}
		}
	}
}
