package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// writeLog makes the log of a data folder and returns that folder and the segment.
func writeLog(t *testing.T) (dir, segment string) {
	t.Helper()
	dir = t.TempDir()
	w, err := wal.Open(filepath.Join(dir, "wal"), wal.Options{SegmentSize: 1 << 20}, func(uint64, wal.Type, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var e wal.SampleEncoder
	e.Add(7, 1000, 21.5)
	e.Add(7, 2000, -3)
	records := []struct {
		typ wal.Type
		rec []byte
	}{
		{wal.Series, wal.AppendSeries(nil, 7, series.AppendKey(nil, labels.FromStrings("__name__", "temperature", "device_id", "d1")))},
		{wal.Samples, e.Buf},
		{wal.Histograms, wal.AppendHistogram(nil, 7, series.Histogram{T: 3000, Int: tsdbutil.GenerateTestHistogram(1)})},
		{wal.Exemplars, wal.AppendExemplar(nil, 7, exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "x"), Value: 4, Ts: 4000, HasTs: true})},
		{wal.Metadata, wal.AppendMetadata(nil, series.Metadata{Family: "temperature", Type: "gauge", Unit: "celsius", Help: "of the air"})},
	}
	for _, r := range records {
		p, err := w.Append(r.typ, r.rec)
		if err == nil {
			err = w.Sync(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	paths, err := segments(dir)
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	return dir, paths[0]
}

func TestWALDump(t *testing.T) {
	dir, segment := writeLog(t)
	for _, path := range []string{dir, filepath.Dir(segment), segment} {
		out, err := run(t, "wal", "dump", path)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, out,
			`series ref=7 {__name__="temperature", device_id="d1"}`,
			"samples ref=7 t=1000 v=21.5\n", "samples ref=7 t=2000 v=-3\n",
			"histograms ref=7 t=3000 h={count:",
			`exemplars ref=7 t=4000 v=4 {trace_id="x"}`,
			`metadata family=temperature type=gauge unit="celsius" help="of the air"`,
			"1 segments", "2 samples in 1 records")
	}
	out, err := run(t, "wal", "dump", "--summary", dir)
	if err != nil || strings.Count(out, "\n") != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestWALDamageAndRepair(t *testing.T) {
	dir, segment := writeLog(t)
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	for off := range b {
		damaged := append([]byte(nil), b...)
		damaged[off] ^= 0x20
		if err := os.WriteFile(segment, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := run(t, "wal", "dump", segment); err == nil && !strings.Contains(out, "not zero") {
			t.Fatalf("a flipped bit at %d was not noticed", off)
		}
	}
	b[60] ^= 1 // in a frame
	if err := os.WriteFile(segment, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "wal", "repair", dir)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, "left out")
	exists(t, segment+".damaged")
	if out, err := run(t, "wal", "dump", dir); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run(t, "wal", "repair", dir); err != nil || out != "nothing is damaged\n" {
		t.Fatalf("%q, %v", out, err)
	}
}

func FuzzWALDump(f *testing.F) {
	f.Add([]byte("MTWAL001"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "000000000001.wal")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d := dumper{w: new(strings.Builder)}
		_ = d.segment(path)
		_ = d.record("", 0, wal.Series, b)
		_ = d.record("", 0, wal.Samples, b)
	})
}
