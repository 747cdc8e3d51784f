package format

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// Every one of very many value columns is a metric of its own.
func TestCSVOfManyColumns(t *testing.T) {
	const n = 600
	c := Columns{}
	header, row := []string{"timestamp"}, []string{"1"}
	for i := range n {
		c.Values = append(c.Values, fmt.Sprint("m", i))
		header, row = append(header, fmt.Sprint("m", i)), append(row, fmt.Sprint(i))
	}
	got := map[string]float64{}
	err := ReadCSV(strings.NewReader(strings.Join(header, ",")+"\n"+strings.Join(row, ",")+"\n"), c, 0, func(r *flow.Run) error {
		got[r.Labels.Get("__name__")] = r.Floats[0].V
		return nil
	}, noMark)
	if err != nil || len(got) != n {
		t.Errorf("%d metrics, want %d, %v", len(got), n, err)
	}
	for i := range n {
		if v := got[fmt.Sprint("m", i)]; v != float64(i) {
			t.Fatalf("m%d is %v", i, v)
		}
	}
}

// What a run says of its family is not changed by what is read later: others have it by then.
func TestMetadataOfARunStays(t *testing.T) {
	const in = "# TYPE a counter\na_total 1 1\na_total{x=\"y\"} 1 2\n# HELP a later\n# UNIT a s\na_total{x=\"z\"} 1 3\n# EOF\n"
	var given []*series.Metadata
	var was []series.Metadata
	err := ReadOpenMetrics(strings.NewReader(in), 0, 0, func(r *flow.Run) error {
		given, was = append(given, r.About), append(was, *r.About)
		return nil
	}, noMark)
	if err != nil || len(given) != 3 {
		t.Fatal(len(given), err)
	}
	for i := range given {
		if *given[i] != was[i] {
			t.Errorf("run %d said %+v, and now says %+v", i, was[i], *given[i])
		}
	}
	if was[2].Help != "later" {
		t.Errorf("the last run says %+v", was[2])
	}
}

// VictoriaMetrics writes null for the one NaN that it keeps: a stale marker.
func TestJSONOfVictoriaMetricsHasStaleMarkers(t *testing.T) {
	const in = `{"metric":{"__name__":"up"},"values":[1,null,"Infinity","-Infinity"],"timestamps":[1,2,3,4]}` + "\n"
	var all []flow.Run
	if err := ReadJSON(strings.NewReader(in), 0, keep(&all), noMark); err != nil {
		t.Fatal(err)
	}
	f := all[0].Floats
	if len(f) != 4 || math.Float64bits(f[1].V) != value.StaleNaN || !math.IsInf(f[2].V, 1) || !math.IsInf(f[3].V, -1) {
		t.Errorf("read %v", f)
	}
}
