package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/cmd/internal/contest"
	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// rivalFlags name the real servers that are there: those that the environment names, or that are installed. In CI
// none may be left out.
func rivalFlags(t *testing.T) (args []string, servers int) {
	t.Helper()
	var b proc.Builder
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	names := []string{contest.MiniTrue}
	args = append(args, "bench", "compare", "--minitrue", b.Build(t, "", "github.com/minitrue/minitrue/cmd/minitrue", proc.Race()...))
	for name, at := range map[string][2]string{
		contest.VictoriaMetrics: {"MINITRUE_VICTORIAMETRICS", "victoria-metrics"},
		contest.Prometheus:      {"MINITRUE_PROMETHEUS", "prometheus"},
	} {
		exe := os.Getenv(at[0])
		if exe == "" {
			exe, _ = exec.LookPath(at[1])
		}
		switch {
		case exe != "":
			names = append(names, name)
			args = append(args, "--"+name, exe)
		case os.Getenv("CI") == "true":
			t.Fatalf("%s is not there, and CI leaves nothing out: name it by %s", name, at[0])
		default:
			t.Logf("without %s, which %s may name", name, at[0])
		}
	}
	return append(args, "--servers", strings.Join(names, ",")), len(names)
}

// Real servers get a tiny load, answer everything alike, and give back what was written.
func TestBenchCompare(t *testing.T) {
	args, servers := rivalFlags(t)
	folder := t.TempDir()
	recording := filepath.Join(folder, "sensor.csv")
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, "%d,%v\n", 1_700_000_000_000+int64(i)*60_000, math.Round(200+50*math.Sin(float64(i)/50))/10)
	}
	if err := os.WriteFile(recording, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, report := t.TempDir(), filepath.Join(folder, "report.json")
	out, err := run(t, append(args, "--dir", dir, "--json", report, "--series-dir", folder, "--series", "2000",
		"--samples", "30", "--new-series", "2000", "--new-samples", "3", "--more-samples", "2", "--week", "3m", "--churn-series", "100",
		"--churn-time", "2h", "--messages", "1000", "--patience", "1ms")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wants(t, out, "| figure | MiniTrue", "server CPU a million samples, 2,000 series × 30", "acknowledged samples that are lost", "values that came back changed", "QoS 1 messages")
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var r contest.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Figures) < 30 || len(r.Raw) == 0 || len(r.Disagreements) > 0 || len(r.Versions) != servers {
		t.Errorf("%d figures, %d raw numbers, disagreements %q, versions %v", len(r.Figures), len(r.Raw), r.Disagreements, r.Versions)
	}
	for _, f := range r.Figures {
		if _, ok := f.Values[contest.MiniTrue]; !ok {
			t.Errorf("MiniTrue has no %q", f.Name)
		}
		if onlyOurs := strings.Contains(f.ID, "query") || strings.Contains(f.ID, "mqtt"); !onlyOurs && len(f.Values) != servers {
			t.Errorf("%q has values of %v", f.Name, f.Values)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// A server that is missing is named with the command that gets it.
func TestBenchCompareWithoutServers(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	_, err := run(t, "bench", "compare", "--minitrue", none, "--victoriametrics", none, "--prometheus", none)
	if err == nil {
		t.Fatal("went on without servers")
	}
	wants(t, err.Error(), "go build -o bin/ ./cmd/minitrue", "apt-get install victoria-metrics", "go build -o bin/ -tags remove_all_sd", "--prometheus")
	for _, args := range [][]string{{"--servers", "x"}, {"--minitrue", os.Args[0], "--servers", "minitrue", "--only", "x"}, {"--minitrue", os.Args[0], "--servers", "minitrue", "--series", "1"}} {
		if out, err := run(t, append([]string{"bench", "compare"}, args...)...); err == nil {
			t.Errorf("%q was accepted: %s", args, out)
		}
	}
}
