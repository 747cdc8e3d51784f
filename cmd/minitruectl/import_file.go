package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/flow"
	"github.com/minitrue/minitrue/cmd/internal/format"
)

// fileSource is a file, or standard input.
type fileSource struct {
	name string
	read func(ctx context.Context, from int64, emit format.Emit, mark format.Mark) error
}

func (s fileSource) Name() string { return s.name }

func (s fileSource) Read(ctx context.Context, from int64, emit func(*flow.Run) error, mark func(int64) error) error {
	return s.read(ctx, from, emit, mark)
}

// input opens the file of an argument; - and none are standard input.
func input(c *cobra.Command, args []string) (io.Reader, *os.File, error) {
	if len(args) == 0 || args[0] == "-" {
		if f, ok := c.InOrStdin().(*os.File); ok {
			return f, f, nil
		}
		return c.InOrStdin(), nil, nil
	}
	f, err := os.Open(args[0])
	return f, f, err
}

// importFile reads a file in a format.
func importFile(c *cobra.Command, args []string, to *target, name string, read func(r io.Reader, from int64, emit format.Emit, mark format.Mark) error) error {
	r, f, err := input(c, args)
	if err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	src := fileSource{read: func(ctx context.Context, from int64, emit format.Emit, mark format.Mark) error {
		return read(r, from, emit, mark)
	}}
	if f != nil {
		src.name = fileName(name, f)
	}
	err = to.load(c, src)
	if f != nil && len(args) > 0 {
		err = errors.Join(err, f.Close())
	}
	return err
}

func newImportFile(name string) *cobra.Command {
	var to target
	about := map[string][2]string{
		"openmetrics": {"Import OpenMetrics text", `Import OpenMetrics text, version 1: every sample with its time, exemplars, and what the text says of metric families. Samples without a
time get that of the import. Times are rounded to milliseconds.`},
		"jsonl":   {"Import JSON lines", "Import JSON lines as minitruectl export and VictoriaMetrics's /api/v1/export write them, with native histograms."},
		"parquet": {"Import flat Parquet", "Import flat Parquet: one row a sample, with the columns metric, labels (a map), timestamp and value."},
	}[name]
	c := &cobra.Command{
		Use:     name + " [FILE]",
		Short:   about[0],
		Long:    about[1] + " Without FILE it reads standard input." + importHelp,
		Example: fmt.Sprintf("  minitruectl import %s samples.%s --url http://127.0.0.1:8080", name, name),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return importFile(c, args, &to, name, func(r io.Reader, from int64, emit format.Emit, mark format.Mark) error {
				switch name {
				case "openmetrics":
					return format.ReadOpenMetrics(r, time.Now().UnixMilli(), from, emit, mark)
				case "jsonl":
					return format.ReadJSON(r, from, emit, mark)
				}
				f, ok := r.(*os.File)
				if !ok {
					return errors.New("read Parquet: it needs a file")
				}
				fi, err := f.Stat()
				if err != nil || !fi.Mode().IsRegular() {
					return fmt.Errorf("read Parquet: it needs a file, and %s is none: %w", f.Name(), err)
				}
				return format.ReadParquet(f, fi.Size(), from, emit, mark)
			})
		},
	}
	if name == "parquet" {
		c.Use, c.Args = "parquet FILE", cobra.ExactArgs(1)
		c.Long = about[1] + importHelp
	}
	to.add(c)
	return c
}

func newImportCSV() *cobra.Command {
	var (
		to           target
		cols         format.Columns
		metric       string
		comma        string
		fixed, parts []string
	)
	c := &cobra.Command{
		Use:   "csv [FILE]",
		Short: "Import CSV",
		Long: `Import CSV, by columns that the flags name: by the names in the first row, or with --no-header by their numbers from 1 on. Without flags it
reads what minitruectl export writes: metric, labels (a JSON object), timestamp (ms), value. Of several --value columns each is a metric of
its own name, and an empty cell is no sample. Without FILE it reads standard input.` + importHelp,
		Example: `  minitruectl import csv samples.csv
  minitruectl import csv house.csv --time time --time-format rfc3339 --value temperature --value humidity --label-column room --label site=home`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := csvFlags(&cols, metric, comma, fixed, parts); err != nil {
				return fmt.Errorf("import csv: %w", err)
			}
			return importFile(c, args, &to, "csv", func(r io.Reader, from int64, emit format.Emit, mark format.Mark) error {
				return format.ReadCSV(r, cols, from, emit, mark)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&cols.Time, "time", "timestamp", "column of the time")
	f.StringVar(&cols.TimeFormat, "time-format", "ms", "s, ms, us, ns (of Unix time, s with decimals) or rfc3339")
	f.StringArrayVar(&cols.Values, "value", nil, "column of values; may be repeated; value without it")
	f.StringVar(&cols.Metric, "metric-column", "", "column of the metric name; metric, if there is one, without it")
	f.StringVar(&metric, "metric", "", "the metric name of all rows")
	f.StringVar(&cols.Labels, "labels-column", "", "column of labels as a JSON object; labels, if there is one, without it")
	f.StringArrayVar(&parts, "label-column", nil, "COLUMN or COLUMN=LABEL: a column that is a label; may be repeated")
	f.StringArrayVar(&fixed, "label", nil, "LABEL=VALUE: a label of all rows; may be repeated")
	f.StringVar(&comma, "delimiter", ",", "what stands between cells")
	f.BoolVar(&cols.NoHeader, "no-header", false, "the first row is data, and columns are called 1, 2, 3 …")
	to.add(c)
	return c
}

// csvFlags puts what the flags say into the columns.
func csvFlags(cols *format.Columns, metric, comma string, fixed, parts []string) error {
	cols.Fixed, cols.Each = map[string]string{}, map[string]string{}
	if comma == `\t` {
		comma = "\t"
	}
	r, n := utf8.DecodeRuneInString(comma)
	if n == 0 || n != len(comma) || strings.ContainsRune("\"\r\n", r) {
		return fmt.Errorf("--delimiter %q is not one character", comma)
	}
	cols.Comma = r
	if metric != "" {
		cols.Fixed[model.MetricNameLabel] = metric
	}
	for _, l := range fixed {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return fmt.Errorf("--label %q: want LABEL=VALUE", l)
		}
		cols.Fixed[name] = value
	}
	for _, l := range parts {
		col, name, ok := strings.Cut(l, "=")
		if !ok {
			name = col
		}
		if col == "" || name == "" {
			return fmt.Errorf("--label-column %q: want COLUMN or COLUMN=LABEL", l)
		}
		cols.Each[col] = name
	}
	return nil
}
