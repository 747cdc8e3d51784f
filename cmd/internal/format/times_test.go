package format

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// A time finer than a millisecond is the same millisecond in every format.
func TestFineTimesAreRoundedAlike(t *testing.T) {
	ns := []int64{1767225600123_999_999, 1767225600123_500_000, 1767225600123_499_999, 0, 1, -1, -499_999, -500_000, -1_999_999, 1<<63 - 1, -1 << 63}
	head := flatHead(labels.FromStrings("__name__", "m"))
	node := flatSchema().Fields()
	group := parquet.Group{}
	for _, f := range node {
		group[f.Name()] = f
	}
	group["timestamp"] = parquet.Timestamp(parquet.Nanosecond)
	var file bytes.Buffer
	w := parquet.NewGenericWriter[any](&file, parquet.NewSchema("samples", group))
	var text strings.Builder
	text.WriteString("timestamp,value\n")
	for _, n := range ns {
		fmt.Fprintf(&text, "%d,1\n", n)
		row := append(parquet.Row{}, head...)
		row = append(row, parquet.Int64Value(n).Level(0, 0, flatTime), parquet.DoubleValue(1).Level(0, 0, flatValue))
		if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var table, columns []flow.Run
	if err := ReadCSV(strings.NewReader(text.String()), Columns{TimeFormat: "ns", Fixed: map[string]string{"__name__": "m"}}, 0, keep(&table), noMark); err != nil {
		t.Fatal(err)
	}
	if err := ReadParquet(bytes.NewReader(file.Bytes()), int64(file.Len()), 0, keep(&columns), noMark); err != nil {
		t.Fatal(err)
	}
	if len(table) != 1 || len(columns) != 1 || len(columns[0].Floats) != len(ns) {
		t.Fatal(table, columns)
	}
	for i, n := range ns {
		if a, b := table[0].Floats[i].T, columns[0].Floats[i].T; a != b {
			t.Errorf("%d ns is %d ms in CSV and %d ms in Parquet", n, a, b)
		}
	}
	if ms, err := parseTime("2026-01-01T00:00:00.1239999Z", "rfc3339"); err != nil || ms != 1767225600124 {
		t.Errorf("RFC 3339 is %d ms, %v", ms, err)
	}
}
