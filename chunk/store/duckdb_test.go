package store_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/aggregate"
)

// duckSeries is what DuckDB says of a series of a block, statistics by chunk.
type duckSeries struct {
	Metric, Samples, Stale string
	Labels                 string // JSON
	Sum, Min, Max          []string
}

// What DuckDB makes of the Parquet files of a block is what POST /query answers.
func TestDuckDBAndQueryAgree(t *testing.T) {
	modules := os.Getenv("MINITRUE_DUCKDB")
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "@duckdb", "node-api")); modules == "" || err != nil {
		const why = "a folder MINITRUE_DUCKDB with @duckdb/node-api is not there"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir := t.TempDir()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := rand.New(rand.NewPCG(4, 2))
	for d := range 20 {
		b := &series.Batch{Series: []series.Entry{{
			Key:   series.AppendKey(nil, labels.FromStrings("__name__", "temperature", "device_id", fmt.Sprint("d", d))),
			Count: 700,
		}}}
		for i := range 700 {
			b.Samples = append(b.Samples, series.Sample{T: 1_700_000_000_000 + int64(i)*5000, V: math.Round(r.NormFloat64()*1000) / 100})
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	query := aggregate.NewHandler(s, aggregate.Options{})
	ask := func(device, operation string) float64 {
		body := fmt.Sprintf(`{"device_id":%q,"metric_name":"temperature","operation":%q}`, device, operation)
		w := httptest.NewRecorder()
		query.ServeHTTP(w, httptest.NewRequest("POST", "/query", strings.NewReader(body)))
		var answer struct{ Result float64 }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		return answer.Result
	}

	blocks, err := filepath.Glob(filepath.Join(dir, "blocks", "*"))
	if err != nil || len(blocks) == 0 {
		t.Fatal("no blocks", err)
	}
	type sums struct{ count, sum, min, max float64 }
	duck := map[string]*sums{}
	for _, block := range blocks {
		cmd := exec.Command("node", filepath.Join("..", "block", "testdata", "duckdb.mjs"), modules, block)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var rows []duckSeries
		if err := json.Unmarshal(out, &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			var ls map[string]string
			if err := json.Unmarshal([]byte(row.Labels), &ls); err != nil {
				t.Fatal(err)
			}
			d := duck[ls["device_id"]]
			if d == nil {
				d = &sums{min: math.Inf(1), max: math.Inf(-1)}
				duck[ls["device_id"]] = d
			}
			d.count += number(t, row.Samples) - number(t, row.Stale)
			for i := range row.Sum {
				d.sum += number(t, row.Sum[i])
				d.min = min(d.min, number(t, row.Min[i]))
				d.max = max(d.max, number(t, row.Max[i]))
			}
		}
	}
	if len(duck) != 20 {
		t.Fatalf("DuckDB found %d series", len(duck))
	}
	for device, d := range duck {
		if n := ask(device, "count"); n != d.count || n != 700 {
			t.Errorf("%s: count %v, DuckDB has %v", device, n, d.count)
		}
		if lo, hi := ask(device, "min"), ask(device, "max"); lo != d.min || hi != d.max {
			t.Errorf("%s: min and max %v %v, DuckDB has %v %v", device, lo, hi, d.min, d.max)
		}
		// DuckDB's chunks are added here without compensation: the last bit may differ.
		if sum := ask(device, "sum"); math.Abs(sum-d.sum) > 1e-12*math.Max(700*10, math.Abs(sum)) {
			t.Errorf("%s: sum %v, DuckDB has %v", device, sum, d.sum)
		}
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
