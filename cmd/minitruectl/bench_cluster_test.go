package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/minitrue/minitrue/cmd/internal/contest"
	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// Clusters of real nodes get a tiny load, answer rightly, grow, and become equal again after one was away.
func TestBenchCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	var b proc.Builder
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	exe := b.Build(t, "", "github.com/minitrue/minitrue/cmd/minitrue", proc.Race()...)
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "report.json")
	args := []string{"bench", "cluster", "--minitrue", exe, "--dir", dir, "--json", file, "--series", "2000", "--samples", "400000",
		"--week", "2m", "--rate", "1000", "--away", "3s", "--idle", "1s", "--patience", "1ms"}
	want := []string{"cluster.one", "cluster.week.1", "cluster.week.3", "cluster.week.3.promql"}
	if testing.Short() {
		args = append(args, "--only", "query")
	} else {
		want = append(want, "cost.1", "cost.3.ratio", "cost.5.ratio", "join.moved", "join.p99", "join.p99.while", "away.hints", "away.repair", "idle")
	}
	out, err := run(t, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r contest.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	have := map[string]float64{}
	for _, f := range r.Figures {
		have[f.ID] = f.Values[contest.MiniTrue]
	}
	for _, id := range want {
		if have[id] <= 0 {
			t.Errorf("%s is %v", id, have[id])
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	for _, args := range [][]string{{"--only", "x"}, {"--series", "1"}, {"--minitrue", filepath.Join(dir, "none")}} {
		if out, err := run(t, append([]string{"bench", "cluster", "--minitrue", exe}, args...)...); err == nil {
			t.Errorf("%q was accepted: %s", args, out)
		}
	}
}
