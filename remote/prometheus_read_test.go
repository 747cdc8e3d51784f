package remote_test

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/prompb"
	promremote "github.com/prometheus/prometheus/storage/remote"

	"github.com/minitrue/minitrue/remote"
)

// Over the same source, Prometheus's own handler gives the same bytes: all of a SAMPLES answer,
// and every chunk of a stream (frames may be cut elsewhere).
func TestReadEqualsPrometheus(t *testing.T) {
	store := remote.NewMemory()
	w := httptest.NewRecorder()
	remote.NewWriteHandler(store, remote.WriteOptions{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/",
		bytes.NewReader(snappy.Encode(nil, manySeries(t, remoteapi.WriteV1MessageType)))))
	if w.Code != http.StatusNoContent {
		t.Fatal(w.Body)
	}
	ours := remote.NewReadHandler(store, remote.ReadOptions{MaxFrame: 2000})
	theirs := promremote.NewReadHandler(slog.New(slog.DiscardHandler), nil, store, func() config.Config { return config.Config{} }, 1e6, 10, 2000)
	hints := &prompb.ReadHints{StartMs: 100, EndMs: 9_000_005, Func: "rate", StepMs: 5}
	qs := []*prompb.Query{
		{StartTimestampMs: 100, EndTimestampMs: 9_000_005, Hints: hints, Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "instance", Value: "i0[1-5]"}}},
		{EndTimestampMs: 1e9, Hints: &prompb.ReadHints{EndMs: 1e9}, Matchers: []*prompb.LabelMatcher{
			{Type: prompb.LabelMatcher_NEQ, Name: "instance", Value: "i03"}, {Type: prompb.LabelMatcher_NRE, Name: "instance", Value: "i1.*"}}},
	}
	for _, form := range []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES, prompb.ReadRequest_STREAMED_XOR_CHUNKS} {
		plain, err := (&prompb.ReadRequest{Queries: qs, AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{form}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		ask := func(h http.Handler) (http.Header, []byte) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(snappy.Encode(nil, plain))))
			if form == prompb.ReadRequest_SAMPLES {
				b, err := snappy.Decode(nil, w.Body.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				return w.Header(), b
			}
			return w.Header(), chunkBytes(t, w.Body.Bytes())
		}
		gotHeader, got := ask(ours)
		wantHeader, want := ask(theirs)
		if !bytes.Equal(got, want) || len(got) < 1000 {
			t.Errorf("%s: %d bytes, Prometheus gives %d", form, len(got), len(want))
		}
		for _, name := range []string{"Content-Type", "Content-Encoding"} {
			if !slices.Equal(gotHeader[name], wantHeader[name]) {
				t.Errorf("%s: %s %q, Prometheus gives %q", form, name, gotHeader[name], wantHeader[name])
			}
		}
	}
}

// chunkBytes is a stream with every chunk in a message of its own.
func chunkBytes(t *testing.T, stream []byte) (out []byte) {
	t.Helper()
	for len(stream) > 0 {
		n, w := binary.Uvarint(stream)
		var r prompb.ChunkedReadResponse
		if err := r.Unmarshal(stream[w+4 : w+4+int(n)]); err != nil {
			t.Fatal(err)
		}
		stream = stream[w+4+int(n):]
		for _, s := range r.ChunkedSeries {
			for _, c := range s.Chunks {
				b, err := (&prompb.ChunkedReadResponse{QueryIndex: r.QueryIndex, ChunkedSeries: []*prompb.ChunkedSeries{{Labels: s.Labels, Chunks: []prompb.Chunk{c}}}}).Marshal()
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, b...)
			}
		}
	}
	return out
}
