package fetch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/fixture"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// frame is one frame of a streamed answer.
func frame(tb testing.TB, runs ...flow.Run) []byte {
	tb.Helper()
	var resp prompb.ChunkedReadResponse
	for _, r := range runs {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			tb.Fatal(err)
		}
		for _, s := range r.Floats {
			app.Append(0, s.T, s.V)
		}
		resp.ChunkedSeries = append(resp.ChunkedSeries, &prompb.ChunkedSeries{
			Labels: prompb.FromLabels(r.Labels, nil), Chunks: []prompb.Chunk{{Type: prompb.Chunk_XOR, Data: c.Bytes()}},
		})
	}
	raw, err := resp.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return envelope(raw)
}

func envelope(raw []byte) []byte {
	b := binary.AppendUvarint(nil, uint64(len(raw)))
	return append(binary.BigEndian.AppendUint32(b, crc32.Checksum(raw, castagnoli)), raw...)
}

func newReader(all *[]flow.Run) *reader {
	return &reader{q: Query{MinTime: -1 << 60, MaxTime: 1 << 60}, b: labels.NewScratchBuilder(4), emit: func(r *flow.Run) error {
		*all = append(*all, flow.Run{Labels: r.Labels, Floats: slices.Clone(r.Floats), Histograms: slices.Clone(r.Histograms)})
		return nil
	}}
}

func TestStream(t *testing.T) {
	want := fixture.Runs(rand.New(rand.NewPCG(2, 2)), 30, fixture.Shape{Payloads: true, Names: true})
	var body []byte
	for i := 0; i < len(want); i += 7 {
		body = append(body, frame(t, want[i:min(i+7, len(want))]...)...)
	}
	var got []flow.Run
	if err := newReader(&got).stream(bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if d := fixture.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	one := frame(t, want[0])
	for at := range one {
		damaged := bytes.Clone(one)
		damaged[at] ^= 1
		if newReader(&got).stream(bytes.NewReader(damaged)) == nil {
			t.Errorf("a flipped bit at %d is not noticed", at)
		}
		if at > 0 && newReader(&got).stream(bytes.NewReader(one[:at])) == nil {
			t.Errorf("an answer that ends at %d is whole", at)
		}
	}
}

// A server that answers with whole samples is understood, one that fails in the middle is asked again, and what the sink says ends it.
func TestSource(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	asked, failed := 0, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked%3 == 2 {
			failed++
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		var packed bytes.Buffer
		_, _ = packed.ReadFrom(r.Body)
		raw, err := snappy.Decode(nil, packed.Bytes())
		var req prompb.ReadRequest
		if err == nil {
			err = req.Unmarshal(raw)
		}
		if err != nil {
			t.Error(err)
			return
		}
		q := req.Queries[0]
		resp := prompb.ReadResponse{Results: []*prompb.QueryResult{{Timeseries: []*prompb.TimeSeries{{
			Labels: []prompb.Label{{Name: "__name__", Value: "m_total"}}, Samples: []prompb.Sample{{Timestamp: q.StartTimestampMs, Value: 1}, {Timestamp: q.EndTimestampMs, Value: 2}},
		}}}}}
		raw, err = resp.Marshal()
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(snappy.Encode(nil, raw))
	}))
	defer s.Close()
	src := Source{Server: Server{Read: s.URL, Client: s.Client()}, Query: Query{MinTime: 5, MaxTime: 10 * hour}, Window: time.Hour, Tries: 3,
		About: map[string]*series.Metadata{"m": {Family: "m"}}, Log: func(string) {}, Sleep: func(context.Context, time.Duration) error { return nil }}
	var times, marks []int64
	err := src.Read(t.Context(), 0, func(r *flow.Run) error {
		for _, f := range r.Floats {
			times = append(times, f.T)
		}
		if r.About == nil {
			t.Error("it is not described")
		}
		return nil
	}, func(p int64) error {
		marks = append(marks, p)
		return nil
	})
	if err != nil || failed == 0 || len(times) != 2*11 || len(marks) != 11 || times[0] != 5 || times[1] != hour-1 || marks[10] != 10*hour+1 {
		t.Errorf("%v, %d failures, %v %v", err, failed, times, marks)
	}
	stop := errors.New("stop")
	if err := src.Read(t.Context(), 0, func(*flow.Run) error { return stop }, nil); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte{})
	whole := frame(f, fixture.Runs(rand.New(rand.NewPCG(2, 2)), 3, fixture.Shape{})...)
	_, n := binary.Uvarint(whole)
	f.Add(whole[n+4:])
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got []flow.Run
		_ = newReader(&got).stream(bytes.NewReader(raw))
		_ = newReader(&got).stream(bytes.NewReader(envelope(raw)))
		_ = newReader(&got).whole(bytes.NewReader(raw))
		_ = newReader(&got).whole(bytes.NewReader(snappy.Encode(nil, raw)))
	})
}
