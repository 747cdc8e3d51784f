package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/fixture"
	"github.com/minitrue/minitrue/cmd/internal/flow"
	"github.com/minitrue/minitrue/remote"
)

// memory keeps what the node's own handler decodes.
type memory struct {
	mu        sync.Mutex
	runs      []flow.Run
	exemplars []string
	metadata  map[string]series.Metadata
}

func (m *memory) Append(_ context.Context, b *series.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range b.Series {
		sb := labels.NewScratchBuilder(8)
		ls, err := series.ParseKey(e.Key, series.Limits{}, &sb)
		if err != nil {
			b.Reject(i, "label", err)
			continue
		}
		if ls.Get("l0") == "refused" {
			b.Reject(i, "told_so", errors.New("it was told to be refused"))
			continue
		}
		r := flow.Run{Labels: ls, Floats: append([]series.Sample(nil), b.Samples[e.First:e.First+e.Count]...)}
		for _, h := range b.Histograms {
			if h.Series == i {
				r.Histograms = append(r.Histograms, h)
			}
		}
		for _, x := range b.Exemplars {
			if x.Series == i {
				m.exemplars = append(m.exemplars, fmt.Sprint(ls, x.Exemplar))
			}
		}
		m.runs = append(m.runs, r)
	}
	for _, d := range b.Metadata {
		m.metadata[d.Family] = d
	}
	return nil
}

func newMemory(t *testing.T) (*memory, string) {
	m := &memory{metadata: map[string]series.Metadata{}}
	s := httptest.NewServer(remote.NewWriteHandler(m, remote.WriteOptions{}))
	t.Cleanup(s.Close)
	return m, s.URL
}

func send(t *testing.T, o Options, runs []flow.Run) (Report, error) {
	t.Helper()
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range runs {
		if err = s.Send(&runs[i]); err != nil {
			break
		}
	}
	return s.Report(), errors.Join(err, s.Flush(), s.Close())
}

// What the node decodes is what was sent, bit for bit, in either protocol and whatever the size of a request.
func TestIdentity(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		want := fixture.Runs(rng, 30, fixture.Shape{Histograms: true, Payloads: true, Names: true})
		about := series.Metadata{Family: want[0].Labels.Get("__name__"), Type: model.MetricTypeCounter, Unit: "seconds", Help: "What it is."}
		want[0].About = &about
		want[0].Exemplars = []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", "1"), Value: 2, Ts: 3, HasTs: true}}
		m, url := newMemory(t)
		o := Options{URL: url, Protocol: []string{"", "1.0", "2.0"}[seed%3], Lanes: 1 + rng.IntN(4), Batch: 1 + rng.IntN(300), BatchBytes: 1 + rng.IntN(20_000)}
		_, err := send(t, o, want)
		if err != nil {
			t.Fatal(err)
		}
		if d := fixture.Diff(want, m.runs); d != "" {
			t.Fatalf("seed %d, %+v: %s", seed, o, d)
		}
		if len(m.exemplars) != 1 || m.metadata[about.Family] != about {
			t.Errorf("seed %d: %v %v", seed, m.exemplars, m.metadata)
		}
	}
}

func TestRefusedSamplesAreCounted(t *testing.T) {
	for _, protocol := range []string{"", "1.0"} {
		_, url := newMemory(t)
		good := flow.Run{Labels: labels.FromStrings("__name__", "m", "l0", "x"), Floats: make([]series.Sample, 7)}
		bad := flow.Run{Labels: labels.FromStrings("__name__", "m", "l0", "refused"), Floats: make([]series.Sample, 5)}
		s, err := New(t.Context(), Options{URL: url, Protocol: protocol})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []flow.Run{good, bad} {
			if err := s.Send(&r); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		r := s.Report()
		if r.Refused != 5 || r.Samples != 7 || len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0], "told to be refused") {
			t.Errorf("%q: %+v", protocol, r)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A target is asked again as it asks to be, and given up when it is hopeless.
func TestAnswers(t *testing.T) {
	type reply struct {
		code   int
		header map[string]string
	}
	const forced = "2.0 is asked for and not understood"
	two := map[string]string{"X-Prometheus-Remote-Write-Samples-Written": "1"}
	for _, row := range []struct {
		name     string
		replies  []reply // the last one for ever
		err      string
		slept    time.Duration // at least
		requests int64
		protocol string
	}{
		{"2.0", []reply{{204, two}}, "", 0, 1, "2.0"},
		{"1.0 by media type", []reply{{415, nil}, {204, nil}}, "", 0, 2, "1.0"},
		{"1.0 that finds nothing", []reply{{204, nil}, {204, nil}}, "", 0, 2, "1.0"},
		{"1.0 that finds rubbish", []reply{{400, nil}, {200, nil}}, "", 0, 2, "1.0"},
		{"it comes back", []reply{{503, nil}, {500, nil}, {502, nil}, {204, two}}, "", 3 * 50 * time.Millisecond, 4, "2.0"},
		{"it asks for patience", []reply{{429, map[string]string{"Retry-After": "7"}}, {204, two}}, "", 7 * time.Second, 2, "2.0"},
		{"by date", []reply{{503, map[string]string{"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}}, {204, two}}, "", 29 * time.Second, 2, "2.0"},
		{forced, []reply{{204, nil}}, "stored nothing", 0, 1, "2.0"},
		{"hopeless", []reply{{503, nil}}, "takes nothing", 10 * time.Minute, 0, "2.0"},
		{"no entry", []reply{{403, nil}}, "credentials", 0, 1, "2.0"},
		{"no such path", []reply{{404, nil}}, "check the URL", 0, 1, "2.0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var n atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				i := min(int(n.Add(1)), len(row.replies)) - 1
				for k, v := range row.replies[i].header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(row.replies[i].code)
			}))
			defer srv.Close()
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			var slept time.Duration
			protocol := ""
			if row.name == forced {
				protocol = "2.0"
			}
			s, err := New(t.Context(), Options{URL: srv.URL, Protocol: protocol, Lanes: 1, Now: func() time.Time { return now }, Sleep: func(_ context.Context, d time.Duration) error {
				slept += d
				now = now.Add(d)
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Send(&flow.Run{Labels: labels.FromStrings("__name__", "m"), Floats: make([]series.Sample, 1)})
			err = errors.Join(err, s.Flush())
			if text := fmt.Sprint(err); (err == nil) != (row.err == "") || !strings.Contains(text, row.err) {
				t.Errorf("error %v", err)
			}
			if slept < row.slept || row.requests > 0 && n.Load() != row.requests || s.Report().Protocol != row.protocol {
				t.Errorf("slept %s in %d requests: %+v", slept, n.Load(), s.Report())
			}
			_ = s.Close()
		})
	}
}

// A target that takes small requests only gets small ones.
func TestTooLargeIsHalved(t *testing.T) {
	var samples, largest atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		packed, _ := io.ReadAll(r.Body)
		body, err := snappy.Decode(nil, packed)
		var req prompb.WriteRequest
		if err == nil {
			err = req.Unmarshal(body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
			return
		}
		n := int64(0)
		for _, ts := range req.Timeseries {
			n += int64(len(ts.Samples))
		}
		if n > 100 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		largest.Store(max(largest.Load(), n))
		samples.Add(n)
	}))
	defer srv.Close()
	var runs []flow.Run
	for i := range 7 {
		runs = append(runs, flow.Run{Labels: labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)), Floats: make([]series.Sample, 331)})
	}
	if _, err := send(t, Options{URL: srv.URL, Protocol: "1.0"}, runs); err != nil {
		t.Fatal(err)
	}
	if samples.Load() != 7*331 || largest.Load() > 100 {
		t.Errorf("%d samples came, %d at once", samples.Load(), largest.Load())
	}
}

// What hangs ends with its context, and everybody who waits with it.
func TestContextEnds(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := New(ctx, Options{URL: srv.URL, Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	for range 100 {
		if err = s.Send(&flow.Run{Labels: labels.FromStrings("__name__", "m"), Floats: make([]series.Sample, 1)}); err != nil {
			break
		}
	}
	if err := errors.Join(err, s.Flush()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	_ = s.Close()
}
