package contest

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	at := func(v float64) Answer { return Answer{"{}": {{1, v}}} }
	named := Answer{`{__name__="x"}`: {{1, 1}}}
	rows := []struct {
		name, unlike        string
		answers             map[string]Answer
		disagreement, noted string // a part of the only one; "" means none
	}{
		{"all the same", "", map[string]Answer{MiniTrue: at(1), VictoriaMetrics: at(1), Prometheus: at(1)}, "", ""},
		{"the order of a sum", "", map[string]Answer{MiniTrue: at(1 + 1e-12), Prometheus: at(1)}, "", ""},
		{"MiniTrue is off", "", map[string]Answer{MiniTrue: at(1 + 1e-8), VictoriaMetrics: at(1), Prometheus: at(1)}, "MiniTrue differs from Prometheus", ""},
		{"VictoriaMetrics is off", "", map[string]Answer{MiniTrue: at(1), VictoriaMetrics: at(2), Prometheus: at(1)}, "VictoriaMetrics differs from Prometheus", ""},
		{"VictoriaMetrics is known to be", "no extrapolation", map[string]Answer{MiniTrue: at(1), VictoriaMetrics: at(2), Prometheus: at(1)}, "", "no extrapolation, so that VictoriaMetrics differs from Prometheus: values differ by up to 0.5"},
		{"MiniTrue has no such excuse", "no extrapolation", map[string]Answer{MiniTrue: at(2), Prometheus: at(1)}, "MiniTrue differs", ""},
		{"without Prometheus", "", map[string]Answer{MiniTrue: at(1), VictoriaMetrics: at(2)}, "VictoriaMetrics differs from MiniTrue", ""},
		{"names are kept", "", map[string]Answer{VictoriaMetrics: named, Prometheus: at(1)}, "", "keeps names of metrics"},
		{"names are kept, and a value is off", "", map[string]Answer{VictoriaMetrics: named, Prometheus: at(3)}, "values differ by up to 0.667", "keeps names"},
		{"MiniTrue keeps names", "", map[string]Answer{MiniTrue: named, Prometheus: at(1)}, "is missing", ""},
		{"alone", "", map[string]Answer{MiniTrue: at(1)}, "", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := &Report{rivals: Rivals()}
			a := answers{}
			for rival, answer := range row.answers {
				for part := range 2 {
					a.add(rival, "q", part, row.unlike, answer)
				}
			}
			a.judge(r, "fleet")
			only(t, "disagreement", r.Disagreements, row.disagreement, 2)
			only(t, "note", r.Notes, row.noted, 1)
			if (r.Err() != nil) != (row.disagreement != "") {
				t.Errorf("error %v", r.Err())
			}
		})
	}
}

// only wants so many lines with a part, or none at all.
func only(t *testing.T, what string, lines []string, part string, n int) {
	t.Helper()
	if part == "" {
		n = 0
	}
	if len(lines) != n || n > 0 && !strings.Contains(lines[0], part) {
		t.Errorf("%ss %q, want %d with %q", what, lines, n, part)
	}
}

func TestMatchReadings(t *testing.T) {
	want := []Point{{10, 1}, {20, 2}, {30, 3}}
	rows := []struct {
		name string
		got  []Point
		r    readings
	}{
		{"all", []Point{{10, 1}, {20, 2}, {30, 3}}, readings{}},
		{"lost", []Point{{10, 1}, {30, 3}}, readings{Lost: 1}},
		{"all lost", nil, readings{Lost: 3}},
		{"changed", []Point{{10, 1}, {20, 2.0000000000000004}, {30, 3}}, readings{Changed: 1}},
		{"strange", []Point{{5, 0}, {10, 1}, {15, 0}, {20, 2}, {30, 3}, {35, 0}}, readings{Strange: 3}},
		{"doubled", []Point{{10, 1}, {10, 1}, {20, 2}, {30, 3}}, readings{Strange: 1}},
	}
	for _, row := range rows {
		var r readings
		r.match("x", want, row.got)
		if r.Written != 3 || r.Lost != row.r.Lost || r.Changed != row.r.Changed || r.Strange != row.r.Strange || (r.First == "") != (row.r == readings{}) {
			t.Errorf("%s: %+v", row.name, r)
		}
	}
}

func TestReadingsAreJudged(t *testing.T) {
	rivals := Rivals()
	judge := func(v Rival, x readings) *Report {
		r := &Report{rivals: rivals}
		(&bout{rival: v, report: r}).judgeReadings(x)
		return r
	}
	if r := judge(rivals[1], readings{Written: 9, Changed: 2}); r.Err() != nil || len(r.Notes) != 1 {
		t.Errorf("VictoriaMetrics changed values: %v, %q", r.Err(), r.Notes)
	}
	if r := judge(rivals[1], readings{Written: 9, Changed: 2, Lost: 1}); r.Err() == nil {
		t.Error("VictoriaMetrics lost a sample, and nobody says so")
	}
	if r := judge(rivals[0], readings{Written: 9, Changed: 2}); r.Err() == nil {
		t.Error("MiniTrue changed values, and nobody says so")
	}
	if r := judge(rivals[0], readings{Written: 9}); r.Err() != nil {
		t.Error(r.Err())
	}
}
