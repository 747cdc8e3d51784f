package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

// table prints rows of a name and a value.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t table) row(name, format string, args ...any) {
	fmt.Fprintf(t.w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
}

func (t table) flush() error { return t.w.Flush() }

func (t table) latency(of string, l bench.Latency) {
	t.row(of+" latency", "median %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms", l.Median, l.P90, l.P99, l.Max)
}

// cost prints what is known of a server's cost for a million of something.
func (t table) cost(c bench.Cost, of string) {
	if c.CPU > 0 {
		t.row("server CPU", "%.2f s, %.3f s a million %s", c.CPU, c.CPUPerM, of)
	}
	if c.RSS > 0 {
		t.row("server memory", "%.1f MiB resident, %.1f MiB at its peak", mebi(c.RSS), mebi(c.PeakRSS))
	}
	if c.DiskApparent > 0 {
		t.row("server disk", "%.1f MiB, %.1f MiB allocated, %.3f bytes a %s", mebi(c.DiskApparent), mebi(c.DiskAlloc), c.BytesASample, of[:len(of)-1])
	}
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
