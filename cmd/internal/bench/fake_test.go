package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// server is a store in memory that speaks remote_write and remote_read, with faults to order. It is
// written with Prometheus's own codecs, so that this package is held against them.
type server struct {
	*httptest.Server

	mu       sync.Mutex // guards all below
	samples  map[string][]sample
	labels   map[string]labels.Labels
	requests int
	fail     func(request int, w http.ResponseWriter) bool // before anything is stored
	samplesF bool                                          // answer reads with SAMPLES
}

func newServer(t *testing.T) *server {
	s := &server{samples: map[string][]sample{}, labels: map[string]labels.Labels{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/write", s.write)
	mux.HandleFunc("POST /api/v1/read", s.read)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func unpack(r *http.Request) ([]byte, error) {
	packed, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return snappy.Decode(nil, packed)
}

func (s *server) write(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.fail != nil && s.fail(s.requests, w) {
		return
	}
	body, err := unpack(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b := labels.NewScratchBuilder(8)
	n := 0
	add := func(ls labels.Labels, t int64, v float64) {
		n++
		key := ls.String()
		s.labels[key] = ls.Copy()
		s.samples[key] = append(s.samples[key], sample{t, v})
	}
	if strings.Contains(r.Header.Get("Content-Type"), "v2.Request") {
		var req writev2.Request
		err = req.Unmarshal(body)
		for _, ts := range req.Timeseries {
			ls, err := ts.ToLabels(&b, req.Symbols)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			for _, p := range ts.Samples {
				add(ls, p.Timestamp, p.Value)
			}
		}
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", fmt.Sprint(n))
	} else {
		var req prompb.WriteRequest
		err = req.Unmarshal(body)
		for _, ts := range req.Timeseries {
			for _, p := range ts.Samples {
				add(ts.ToLabels(&b, nil), p.Timestamp, p.Value)
			}
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) read(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := unpack(r)
	var req prompb.ReadRequest
	if err == nil {
		err = req.Unmarshal(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q := req.Queries[0]
	var result prompb.QueryResult
	if !s.samplesF {
		w.Header().Set("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
	}
	stream := remote.NewChunkedWriter(w, w.(http.Flusher))
	for key, ls := range s.labels {
		if !matches(ls, q.Matchers) {
			continue
		}
		pl := prompb.FromLabels(ls, nil)
		if s.samplesF {
			ts := &prompb.TimeSeries{Labels: pl}
			for _, p := range s.samples[key] {
				ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: p.t, Value: p.v})
			}
			result.Timeseries = append(result.Timeseries, ts)
			continue
		}
		frame, _ := (&prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Labels: pl, Chunks: chunks(s.samples[key])}}}).Marshal()
		_, _ = stream.Write(frame)
	}
	if s.samplesF {
		b, _ := (&prompb.ReadResponse{Results: []*prompb.QueryResult{&result}}).Marshal()
		_, _ = w.Write(snappy.Encode(nil, b))
	}
}

func matches(ls labels.Labels, ms []*prompb.LabelMatcher) bool {
	for _, m := range ms {
		if !regexp.MustCompile("^(?:" + m.Value + ")$").MatchString(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// chunks cuts samples into XOR chunks of 7.
func chunks(ss []sample) (cs []prompb.Chunk) {
	for len(ss) > 0 {
		n := min(7, len(ss))
		c := chunkenc.NewXORChunk()
		app, _ := c.Appender()
		for _, p := range ss[:n] {
			app.Append(0, p.t, p.v)
		}
		cs = append(cs, prompb.Chunk{MinTimeMs: ss[0].t, MaxTimeMs: ss[n-1].t, Type: prompb.Chunk_XOR, Data: c.Bytes()})
		ss = ss[n:]
	}
	return cs
}
