package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/cmd/internal/workload"
)

var shape = workload.Shape{Series: 250, Samples: 30, Start: 1_700_000_000_000, Interval: 10_000, Seed: 3, Values: workload.Walk}

// load writes the shape and returns the log of what was acknowledged.
func load(t *testing.T, s *server, p workload.Protocol) []Acked {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acked")
	log, err := CreateAckedLog(path, shape)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Load(t.Context(), LoadOptions{URL: s.URL, Shape: shape, Protocol: p, Batch: 33, Connections: 3, Acked: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Samples != shape.Total() || r.Requests != 8*30 || r.Latency.Max <= 0 {
		t.Fatalf("%+v", r)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, acked, err := ReadAcked(bytes.NewReader(b))
	if err != nil || got != shape || len(acked) != 8*30 {
		t.Fatalf("%d requests of %+v, %v", len(acked), got, err)
	}
	return acked
}

func TestLoadIsReadBack(t *testing.T) {
	for _, p := range []workload.Protocol{workload.V1, workload.V2} {
		for _, samples := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s samples=%v", p, samples), func(t *testing.T) {
				s := newServer(t)
				s.samplesF = samples
				acked := load(t, s, p)
				r, err := Check(t.Context(), CheckOptions{URL: s.URL, Shape: shape, Acked: acked, Read: 17})
				if err != nil || r.Err() != nil {
					t.Fatal(err, r.Err(), r.Faults)
				}
				if r.Acked != shape.Total() || r.Read != shape.Total() {
					t.Fatalf("%+v", r)
				}
			})
		}
	}
}

// A server that is away, dies in the middle or asks for patience is asked until it acknowledges.
func TestLoadRetries(t *testing.T) {
	s := newServer(t)
	s.fail = func(n int, w http.ResponseWriter) bool {
		switch n % 9 {
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 4:
			w.WriteHeader(http.StatusTooManyRequests)
		case 6:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			return false
		}
		return true
	}
	acked := load(t, s, workload.V1)
	r, err := Check(t.Context(), CheckOptions{URL: s.URL, Shape: shape, Acked: acked})
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err(), r.Faults)
	}
}

func TestLoadStops(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		s := newServer(t)
		s.fail = func(n int, w http.ResponseWriter) bool {
			if n > 20 {
				http.Error(w, "label job is too long", http.StatusBadRequest)
			}
			return n > 20
		}
		r, err := Load(t.Context(), LoadOptions{URL: s.URL, Shape: shape, Batch: 33, Connections: 1})
		if err == nil || !strings.Contains(err.Error(), "label job is too long") {
			t.Fatalf("error %v", err)
		}
		if r.Requests != 20 {
			t.Errorf("%d requests were acknowledged, want 20", r.Requests)
		}
	})
	t.Run("2.0 without counts", func(t *testing.T) {
		s := newServer(t)
		s.fail = func(_ int, w http.ResponseWriter) bool { w.WriteHeader(http.StatusNoContent); return true }
		if _, err := Load(t.Context(), LoadOptions{URL: s.URL, Shape: shape, Protocol: workload.V2}); err == nil {
			t.Fatal("an answer that does not say what was written passed for an acknowledgement")
		}
	})
	t.Run("told to", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newServer(t)
		s.fail = func(_ int, w http.ResponseWriter) bool {
			cancel()
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		if _, err := Load(ctx, LoadOptions{URL: s.URL, Shape: shape}); err == nil {
			t.Fatal("no error though nothing was acknowledged")
		}
	})
	for _, o := range []LoadOptions{{Shape: shape}, {URL: "http://x", Batch: -1, Shape: shape}, {URL: "http://x"}, {URL: "http://x", Shape: shape, Protocol: "3"}} {
		if _, err := Load(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestCheckFindsFaults(t *testing.T) {
	victim := workload.Labels(123).String()
	rows := []struct {
		name string
		do   func(s *server)
		want CheckReport
	}{
		{"lost", func(s *server) { s.samples[victim] = s.samples[victim][:28] }, CheckReport{Lost: 2}},
		{"lost series", func(s *server) { delete(s.labels, victim) }, CheckReport{Lost: 30}},
		{"changed", func(s *server) { s.samples[victim][7].v += 1e-12 }, CheckReport{Changed: 1}},
		{"doubled", func(s *server) { s.samples[victim] = append(s.samples[victim], s.samples[victim][3]) }, CheckReport{Doubled: 1}},
		{"doubled and changed", func(s *server) {
			s.samples[victim] = append(s.samples[victim], sample{s.samples[victim][3].t, -1})
		}, CheckReport{Doubled: 1, Changed: 1}},
		{"moved", func(s *server) { s.samples[victim][9].t++ }, CheckReport{Lost: 1, Strange: 1}},
		{"too late", func(s *server) {
			s.samples[victim] = append(s.samples[victim], sample{shape.End() + 1, 1})
		}, CheckReport{Strange: 1}},
		{"other labels", func(s *server) {
			ls := labels.NewBuilder(s.labels[victim]).Set("site", "x").Labels()
			s.labels["x"], s.samples["x"] = ls, []sample{{shape.Start, 1}}
		}, CheckReport{Strange: 1}},
	}
	for _, row := range rows {
		for _, samples := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s samples=%v", row.name, samples), func(t *testing.T) {
				s := newServer(t)
				s.samplesF = samples
				acked := load(t, s, workload.V1)
				row.do(s)
				got, err := Check(t.Context(), CheckOptions{URL: s.URL, Shape: shape, Acked: acked})
				if err != nil {
					t.Fatal(err)
				}
				if got.Lost != row.want.Lost || got.Changed != row.want.Changed || got.Doubled != row.want.Doubled || got.Strange != row.want.Strange {
					t.Errorf("%+v, want %+v", got, row.want)
				}
				if got.Err() == nil || len(got.Faults) == 0 {
					t.Error("the fault is not reported")
				}
			})
		}
	}
}

// What was sent and not acknowledged may be there or not.
func TestCheckForgivesUnacknowledged(t *testing.T) {
	s := newServer(t)
	acked := load(t, s, workload.V1)
	victim := workload.Labels(0).String()
	s.samples[victim] = s.samples[victim][:29] // the last one of batch 0 is gone
	var some []Acked
	for _, a := range acked {
		if a.First != 0 || a.Step < 25 {
			some = append(some, a)
		}
	}
	r, err := Check(t.Context(), CheckOptions{URL: s.URL, Shape: shape, Acked: some})
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Faults)
	}
	s.samples[victim][27].v = -1
	if r, _ := Check(t.Context(), CheckOptions{URL: s.URL, Shape: shape, Acked: some}); r.Changed != 1 {
		t.Errorf("%+v, want a changed sample", r)
	}
}

func TestReadAcked(t *testing.T) {
	const header = `{"series":10,"samples":5,"start_ms":0,"interval_ms":1,"seed":0,"values":"walk"}` + "\n"
	rows := []struct {
		name, in string
		want     int
		bad      bool
	}{
		{"two", header + "0 10 0\n0 10 1\n", 2, false},
		{"cut", header + "0 10 0\n0 10", 1, false},
		{"empty", "", 0, true},
		{"no shape", "0 10 0\n", 0, true},
		{"no samples", "{}\n", 0, true},
		{"not in the shape", header + "0 11 0\n", 0, true},
		{"no step of it", header + "0 10 5\n", 0, true},
		{"words", header + "a b c\n", 0, true},
	}
	for _, r := range rows {
		_, acked, err := ReadAcked(strings.NewReader(r.in))
		if len(acked) != r.want && !r.bad || (err != nil) != r.bad {
			t.Errorf("%s: %v, %v", r.name, acked, err)
		}
	}
}

func FuzzReadStream(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 0, 1, 2, 3})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = readStream(bytes.NewReader(b), func(labels.Labels, int64, float64) {})
		_ = readSamples(bytes.NewReader(b), func(labels.Labels, int64, float64) {})
	})
}

func FuzzReadAcked(f *testing.F) {
	f.Add("{}\n0 1 2\n")
	f.Fuzz(func(t *testing.T, in string) {
		s, acked, err := ReadAcked(strings.NewReader(in))
		for _, a := range acked {
			if err == nil && (a.Last > s.Series || a.Step >= s.Samples) {
				t.Fatalf("%v of %+v", a, s)
			}
		}
	})
}
