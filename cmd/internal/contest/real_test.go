package contest

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/prompb"
)

func TestRealSeriesAreSentWhole(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.csv":     "30,3\n10,1.5\n10,9\n20,NaN\n", // not in order, and one time twice
		"b.csv":     "15,-0\n",
		"notes.txt": "nothing of this",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	next, total := bodies(all)
	if total != 4 {
		t.Fatalf("%d samples", total)
	}
	body, n := next(nil)
	var req prompb.WriteRequest
	if err := req.Unmarshal(body); err != nil || n != 4 || len(req.Timeseries) != 2 {
		t.Fatal(err, n, req.Timeseries)
	}
	want := [][]Point{{{10, 1.5}, {20, math.NaN()}, {30, 3}}, {{15, math.Copysign(0, -1)}}}
	for i, ts := range req.Timeseries {
		var got []Point
		for _, s := range ts.Samples {
			got = append(got, Point{s.Timestamp, s.Value})
		}
		var r readings
		if r.match("x", want[i], got); r.Lost+r.Changed+r.Strange > 0 || r.Written != int64(len(got)) {
			t.Errorf("series %d: %v, want %v", i, got, want[i])
		}
	}
	if _, n := next(nil); n != 0 {
		t.Errorf("%d samples more", n)
	}
}

func TestRealSeriesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	if _, err := readFolder(dir); err == nil {
		t.Error("an empty folder was accepted")
	}
	for _, text := range []string{"", "1\n", "1,2,3\n", "x,1\n", "1,x\n", "time,value\n1,2\n"} {
		path := filepath.Join(dir, "x.csv")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if all, err := readFolder(dir); err == nil {
			t.Errorf("%q was read as %v", text, all)
		}
	}
}
