package contest

import (
	"strings"
	"testing"
	"time"
)

func TestFigure(t *testing.T) {
	vm := map[string]float64{MiniTrue: 5, VictoriaMetrics: 10, Prometheus: 20}
	rows := []struct {
		name    string
		f       Figure
		ratio   float64 // 0 means none
		met, ok bool
		goal    string
	}{
		{"less is better", Figure{Values: vm, Goal: AtMostOf(0.65, VictoriaMetrics), Unit: Seconds}, 0.5, true, true, "≤ 0.65 × VictoriaMetrics"},
		{"missed", Figure{Values: vm, Goal: AtMostOf(0.25, VictoriaMetrics)}, 0.5, false, true, "≤ 0.25 × VictoriaMetrics"},
		{"absolute", Figure{Values: vm, Goal: AtMost(5), Unit: MiB}, 0.5, true, true, "≤ 5.00 MiB"},
		{"more is better", Figure{Values: vm, More: true, Goal: AtMost(6)}, 0.25, false, true, "≥ 6"},
		{"no goal", Figure{Values: vm}, 0.5, false, false, ""},
		{"no rival", Figure{Values: map[string]float64{MiniTrue: 5}, Goal: AtMost(6)}, 0, true, true, "≤ 6"},
		{"no rival to hold against", Figure{Values: map[string]float64{MiniTrue: 5, Prometheus: 5}, Goal: AtMostOf(1, VictoriaMetrics)}, 1, false, false, "≤ 1 × VictoriaMetrics"},
		{"MiniTrue has none", Figure{Values: map[string]float64{Prometheus: 5}, Goal: AtMost(6)}, 0, false, false, "≤ 6"},
		{"the better has nothing", Figure{Values: map[string]float64{MiniTrue: 0, Prometheus: 0}, Goal: AtMost(0)}, 0, true, true, "≤ 0"},
	}
	r := &Report{rivals: Rivals()}
	for _, row := range rows {
		ratio, _ := row.f.Ratio()
		met, ok := row.f.Met()
		if ratio != row.ratio || met != row.met || ok != row.ok || row.f.goal(r.title) != row.goal {
			t.Errorf("%s: ratio %v, met %v %v, goal %q", row.name, ratio, met, ok, row.f.goal(r.title))
		}
	}
}

func TestUnits(t *testing.T) {
	for want, got := range map[string]string{
		"0.651 B": Bytes.format(0.6512), "1.64 s": Seconds.format(1.64), "12.3 ms": Millis.format(12.34), "190 ms": Millis.format(190.4),
		"709 MiB": MiB.format(709.2), "1,468": Count.format(1468), "-1,468": Count.format(-1468), "-468": Count.format(-468), "2.50": Count.format(2.5), "1.30 ×": Times.format(1.3),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := &Report{Date: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Machine: "2 cores", Versions: map[string]string{VictoriaMetrics: "1.79.5"}, rivals: Rivals()}
	for rival, v := range map[string]float64{MiniTrue: 5, VictoriaMetrics: 10} {
		r.record(Figure{ID: "x", Name: "a|b", Unit: Millis, Goal: AtMostOf(0.25, VictoriaMetrics)}, rival, v)
		r.tail("x", rival, 3*v)
	}
	r.note("mind the gap")
	r.note("mind the gap")
	r.Failures = append(r.Failures, "it died:\nlast words")
	want := `Measured on 2026-11-24 on 2 cores.

| figure | MiniTrue | VictoriaMetrics 1.79.5 | Prometheus | ratio to the better | goal | met |
| --- | ---: | ---: | ---: | ---: | --- | --- |
| a\|b | 5.00 ms (p99 15.0) | 10.0 ms (p99 30.0) |  | 0.50 | ≤ 0.25 × VictoriaMetrics | **no** |

Notes:

- mind the gap

Failures:

- it died:
  last words
`
	if got := r.Markdown(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "1 scenarios failed") {
		t.Errorf("error %v", err)
	}
}
