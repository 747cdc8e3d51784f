package remote

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk/series"
)

// filled has series m0 … of float samples at 0, 10 s, …, and one of each kind of histogram.
func filled(n, samples int) *memory {
	m := newMemory()
	add := func(ls labels.Labels) map[int64]any {
		s := &memorySeries{ls, map[int64]any{}}
		m.series[string(series.AppendKey(nil, ls))] = s
		return s.samples
	}
	for i := range n {
		to := add(labels.FromStrings("__name__", fmt.Sprintf("m%d", i), "job", "x"))
		for j := range samples {
			to[int64(j)*10_000] = math.Sqrt(float64(i*samples + j))
		}
		to[int64(samples)*10_000] = values[i%len(values)]
	}
	for name, f := range map[string]func(i int64) any{
		"h_int":    func(i int64) any { return tsdbutil.GenerateTestHistogram(i) },
		"h_float":  func(i int64) any { return tsdbutil.GenerateTestFloatHistogram(i) },
		"h_custom": func(i int64) any { return tsdbutil.GenerateTestCustomBucketsHistogram(i) },
		"h_gauge":  func(i int64) any { return tsdbutil.GenerateTestGaugeFloatHistogram(i) },
	} {
		to := add(labels.FromStrings("__name__", name, "job", "h"))
		for j := range int64(samples) {
			to[j*10_000] = f(j)
		}
	}
	return m
}

func readBodyOf(types []prompb.ReadRequest_ResponseType, qs ...*prompb.Query) []byte {
	b, err := (&prompb.ReadRequest{Queries: qs, AcceptedResponseTypes: types}).Marshal()
	if err != nil {
		panic(err)
	}
	return snappy.Encode(nil, b)
}

func selectJob(start, end int64, job string) *prompb.Query {
	return &prompb.Query{StartTimestampMs: start, EndTimestampMs: end,
		Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_EQ, Name: "job", Value: job}}}
}

var (
	formSamples = []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES, prompb.ReadRequest_STREAMED_XOR_CHUNKS}
	formChunks  = []prompb.ReadRequest_ResponseType{7, prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES}
)

// frames cuts a streamed answer and checks the checksums.
func frames(t *testing.T, b []byte) (out []*prompb.ChunkedReadResponse, sizes []int) {
	t.Helper()
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || uint64(len(b)-w-4) < n {
			t.Fatal("cut frame")
		}
		message := b[w+4 : w+4+int(n)]
		if binary.BigEndian.Uint32(b[w:]) != crc32.Checksum(message, crc32.MakeTable(crc32.Castagnoli)) {
			t.Fatal("wrong checksum")
		}
		r := &prompb.ChunkedReadResponse{}
		if err := r.Unmarshal(message); err != nil {
			t.Fatal(err)
		}
		out, sizes = append(out, r), append(sizes, int(n))
		b = b[w+4+int(n):]
	}
	return out, sizes
}

func unpackSamples(t *testing.T, w *httptest.ResponseRecorder) *prompb.ReadResponse {
	t.Helper()
	plain, err := snappy.Decode(nil, w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	resp := &prompb.ReadResponse{}
	if err := resp.Unmarshal(plain); err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestReadForms(t *testing.T) {
	h := NewReadHandler(filled(2, 3), ReadOptions{})
	rows := []struct {
		types []prompb.ReadRequest_ResponseType
		want  string
	}{
		{nil, typeProtobuf},
		{formSamples, typeProtobuf},
		{formChunks, typeStreamed},
	}
	for _, r := range rows {
		w := post(h, readBodyOf(r.types, selectJob(0, 1e9, "x")))
		if w.Code != 200 || w.Header().Get("Content-Type") != r.want {
			t.Errorf("%v: %d, %s", r.types, w.Code, w.Header().Get("Content-Type"))
		}
	}
	w := post(h, readBodyOf(formChunks, selectJob(0, 1e9, "nobody")))
	if w.Code != 200 || w.Header().Get("Content-Type") != typeStreamed || w.Body.Len() != 0 {
		t.Errorf("nothing found: %d %s", w.Code, w.Header().Get("Content-Type"))
	}
}

// Both forms hold the same samples, for several queries, with series in order.
func TestReadFormsAgree(t *testing.T) {
	m := filled(30, 400)
	h := NewReadHandler(m, ReadOptions{MaxFrame: 2000})
	qs := []*prompb.Query{selectJob(50_000, 3_000_000, "x"), selectJob(0, 1e9, "nobody"), selectJob(0, 1e9, "h")}
	resp := unpackSamples(t, post(h, readBodyOf(formSamples, qs...)))
	if len(resp.Results) != 3 || len(resp.Results[0].Timeseries) != 30 || len(resp.Results[1].Timeseries) != 0 || len(resp.Results[2].Timeseries) != 4 {
		t.Fatalf("%d results", len(resp.Results))
	}
	parts, sizes := frames(t, post(h, readBodyOf(formChunks, qs...)).Body.Bytes())
	if slices.Max(sizes) > 4000 {
		t.Errorf("a frame of %d bytes", slices.Max(sizes))
	}
	streamed := map[string]*prompb.TimeSeries{}
	var order []string
	for _, p := range parts {
		for _, s := range p.ChunkedSeries {
			key := fmt.Sprint(p.QueryIndex, s.Labels)
			if streamed[key] == nil {
				order = append(order, key)
				streamed[key] = &prompb.TimeSeries{Labels: s.Labels}
			}
			decodeChunks(t, s.Chunks, streamed[key])
		}
	}
	var wantOrder []string
	for i, res := range resp.Results {
		for _, ts := range res.Timeseries {
			key := fmt.Sprint(i, ts.Labels)
			wantOrder = append(wantOrder, key)
			if got, want := linesOf(streamed[key]), linesOf(ts); !slices.Equal(got, want) {
				t.Errorf("%s:\nstreamed %q\n samples %q", key, got, want)
			}
		}
	}
	if !slices.Equal(order, wantOrder) || !slices.IsSorted(wantOrder[:30]) {
		t.Errorf("order %v", order)
	}
}

// linesOf renders a series; chunks know counter resets better than single samples do.
func linesOf(ts *prompb.TimeSeries) []string {
	for i := range ts.Histograms {
		ts.Histograms[i].ResetHint = 0
	}
	return linesV1(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{*ts}})
}

func decodeChunks(t *testing.T, cs []prompb.Chunk, to *prompb.TimeSeries) {
	t.Helper()
	for _, c := range cs {
		chk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
		if err != nil {
			t.Fatal(err)
		}
		var at int64
		first := true
		it := chk.Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			switch typ {
			case chunkenc.ValFloat:
				ts, v := it.At()
				to.Samples = append(to.Samples, prompb.Sample{Timestamp: ts, Value: v})
			case chunkenc.ValHistogram:
				ts, h := it.AtHistogram(nil)
				to.Histograms = append(to.Histograms, prompb.FromIntHistogram(ts, h))
			case chunkenc.ValFloatHistogram:
				ts, h := it.AtFloatHistogram(nil)
				to.Histograms = append(to.Histograms, prompb.FromFloatHistogram(ts, h))
			}
			if at = it.AtT(); first && at != c.MinTimeMs {
				t.Errorf("min time %d, first sample at %d", c.MinTimeMs, at)
			}
			first = false
		}
		if it.Err() != nil || at != c.MaxTimeMs {
			t.Errorf("%v, max time %d, last sample at %d", it.Err(), c.MaxTimeMs, at)
		}
	}
}

// Chunks in an encoding that clients need not know are re-encoded.
func TestReadReencodes(t *testing.T) {
	m := filled(1, 300)
	plain := post(NewReadHandler(m, ReadOptions{}), readBodyOf(formChunks, selectJob(0, 1e9, "x"))).Body.Bytes()
	m.wrap = func(c chunks.Meta) chunks.Meta {
		x := chunkenc.NewXOR2Chunk()
		app, err := x.Appender()
		if err != nil {
			t.Fatal(err)
		}
		it := c.Chunk.Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			ts, v := it.At()
			app.Append(ts-1, ts, v)
		}
		c.Chunk = x
		return c
	}
	w := post(NewReadHandler(m, ReadOptions{}), readBodyOf(formChunks, selectJob(0, 1e9, "x")))
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), plain) {
		t.Fatalf("%d: %d bytes, want %d", w.Code, w.Body.Len(), len(plain))
	}
}

// The bytes of a frame never change.
func TestReadFrameIsGolden(t *testing.T) {
	m := newMemory()
	ls := labels.FromStrings("__name__", "up", "job", "x")
	m.series["k"] = &memorySeries{ls, map[int64]any{1000: 1.0, 2000: 2.0}}
	w := post(NewReadHandler(m, ReadOptions{}), readBodyOf(formChunks, selectJob(0, 1e9, "nobody"), selectJob(0, 1e9, "x")))
	const want = "3b2c9bf8210a370a0e0a085f5f6e616d655f5f120275700a080a036a6f62120178121b08e80710d00f180122110002d00f3ff0000000000000e807c25fff1001"
	if got := hex.EncodeToString(w.Body.Bytes()); got != want {
		t.Fatalf("%s", got)
	}
}
