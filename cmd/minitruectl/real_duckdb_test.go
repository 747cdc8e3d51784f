package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/fixture"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// DuckDB finds the same series, counts and sums in flat Parquet. MINITRUE_DUCKDB names a folder where
// `npm install @duckdb/node-api@1.5.6-r.1` was run.
func TestDuckDBReadsFlatParquet(t *testing.T) {
	t.Parallel()
	modules := os.Getenv("MINITRUE_DUCKDB")
	node, err := exec.LookPath("node")
	if modules == "" || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node and MINITRUE_DUCKDB are not there")
		}
		t.Skip("node and MINITRUE_DUCKDB are not there")
	}
	want := map[string]flow.Run{}
	var runs []flow.Run
	for i, r := range fixture.Runs(rand.New(rand.NewPCG(9, 9)), 60, fixture.Shape{}) {
		at := int64(fixture.Start)
		for j := range r.Floats {
			r.Floats[j] = series.Sample{T: at + int64(j)*1007, V: fixture.Value(i, j)}
		}
		want[r.Labels.String()] = r
		runs = append(runs, r)
	}
	cmd := exec.Command(node, filepath.Join("testdata", "flat.mjs"), modules, writeFile(t, "parquet", runs))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct{ Metric, Labels, Samples, Sum, First, Last string }
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(want) {
		t.Errorf("%d series, want %d", len(rows), len(want))
	}
	for _, row := range rows {
		ls := map[string]string{}
		if err := json.Unmarshal([]byte(row.Labels), &ls); err != nil {
			t.Fatal(err)
		}
		ls["__name__"] = row.Metric
		r, sum := want[labels.FromMap(ls).String()], 0.0
		for _, s := range r.Floats {
			sum += s.V
		}
		got, err := strconv.ParseFloat(row.Sum, 64)
		n := len(r.Floats)
		if err != nil || n == 0 || row.Samples != strconv.Itoa(n) || math.Abs(got-sum) > 1e-9*(1+math.Abs(sum)) ||
			row.First != strconv.FormatInt(r.Floats[0].T, 10) || row.Last != strconv.FormatInt(r.Floats[n-1].T, 10) {
			t.Errorf("%+v, want %d samples, sum %v, of %s", row, n, sum, r.Labels)
		}
	}
}
