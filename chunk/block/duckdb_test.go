package block

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
)

// DuckDB reads the same series, labels and statistics as we do. MINITRUE_DUCKDB
// names a folder where `npm install @duckdb/node-api@1.5.6-r.1` was run.
func TestDuckDB(t *testing.T) {
	modules := os.Getenv("MINITRUE_DUCKDB")
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(modules, "node_modules", "@duckdb", "node-api"))
	}
	if modules == "" || err != nil {
		const why = "node and a folder MINITRUE_DUCKDB with @duckdb/node-api are not there"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	model := randomModel(t, rand.New(rand.NewPCG(5, 5)), 300)
	// A series without any label, and one without a metric, are allowed by the format.
	bare := modelSeries{newSeries(labels.EmptyLabels()), []chunk.Chunk{xorChunk(t, 0, 1, 1)}}
	if model[0].Labels.IsEmpty() {
		model[0] = bare
	} else {
		model = append([]modelSeries{bare}, model...)
	}
	duckReads(t, node, modules, model)
	// Series that have no label but their name leave two columns without a value.
	duckReads(t, node, modules, []modelSeries{{newSeries(labels.FromStrings("__name__", "m")), []chunk.Chunk{xorChunk(t, 0, 10, 1)}}})
}

func duckReads(t *testing.T, node, modules string, model []modelSeries) {
	t.Helper()
	root := t.TempDir()
	m := write(t, root, model)
	cmd := exec.Command(node, filepath.Join("testdata", "duckdb.mjs"), modules, filepath.Join(root, m.ULID.String()))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []duckRow
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(model) {
		t.Fatalf("DuckDB found %d series, want %d", len(got), len(model))
	}
	for i, g := range got {
		if err := g.compare(i, model[i]); err != nil {
			t.Fatalf("series %d, %s: %v", i, model[i].Labels, err)
		}
	}
}

type duckRow struct {
	Series, Partition, Metric, Labels              string
	Chunks, Samples, Stale                         string
	MinTime                                        string `json:"min_time"`
	MaxTime                                        string `json:"max_time"`
	Sum, Min, Max, First, Last, Increase, Encoding []string
	Data                                           []string
}

func (g duckRow) compare(ord int, want modelSeries) error {
	var ls map[string]string
	if err := json.Unmarshal([]byte(g.Labels), &ls); err != nil {
		return err
	}
	if g.Metric != "" {
		ls["__name__"] = g.Metric
	}
	if !labels.Equal(labels.FromMap(ls), want.Labels) {
		return fmt.Errorf("labels %v", ls)
	}
	var samples, stale uint64
	for i, c := range want.chunks {
		samples, stale = samples+c.Samples, stale+c.Stale
		for _, p := range []struct {
			name string
			got  string
			want float64
		}{
			{"sum", g.Sum[i], c.Total()}, {"min", g.Min[i], c.Min}, {"max", g.Max[i], c.Max}, {"first", g.First[i], c.First},
			{"last", g.Last[i], c.Last}, {"increase", g.Increase[i], c.Increase}, {"encoding", g.Encoding[i], float64(c.Encoding)},
		} {
			v, err := strconv.ParseFloat(p.got, 64)
			if err != nil || v != p.want && !(math.IsNaN(v) && math.IsNaN(p.want)) {
				return fmt.Errorf("chunk %d: %s is %s, want %v", i, p.name, p.got, p.want)
			}
		}
		if g.Data[i] != hex.EncodeToString(c.Data) {
			return fmt.Errorf("chunk %d: data %s", i, g.Data[i])
		}
	}
	wants := []struct{ got, want string }{
		{g.Series, fmt.Sprint(ord)}, {g.Partition, fmt.Sprint(want.Partition)}, {g.Chunks, fmt.Sprint(len(want.chunks))},
		{g.Samples, fmt.Sprint(samples)}, {g.Stale, fmt.Sprint(stale)},
		{g.MinTime, fmt.Sprint(want.chunks[0].MinTime)}, {g.MaxTime, fmt.Sprint(want.chunks[len(want.chunks)-1].MaxTime)},
	}
	for _, w := range wants {
		if w.got != w.want {
			return fmt.Errorf("%s, want %s", w.got, w.want)
		}
	}
	return nil
}
