package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/fetch"
	"github.com/minitrue/minitrue/cmd/internal/flow"
	"github.com/minitrue/minitrue/cmd/internal/format"
	"github.com/minitrue/minitrue/cmd/internal/progress"
)

// origin is where an export reads.
type origin interface {
	Samples(ctx context.Context, q fetch.Query, emit func(*flow.Run) error) error
	Names(ctx context.Context, q fetch.Query) ([]string, error)
	Metadata(ctx context.Context) (map[string]*series.Metadata, error)
}

// exportFlags say what to export, and into what.
type exportFlags struct {
	sel         selection
	url, dir    string
	format, out string
}

func newExport() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export",
		Short: "Write samples to CSV, JSON lines, OpenMetrics or flat Parquet",
		Long: `Write samples of a server that speaks remote_read, or of a stopped node's data folder, to a file.

  csv          a row a sample: metric, labels (a JSON object), timestamp (ms), value
  jsonl        a line some samples of one series, in the form of VictoriaMetrics, with native histograms beside them
  openmetrics  text with metadata, as promtool tsdb create-blocks-from openmetrics reads it
  parquet      a row a sample: metric, labels (a map), timestamp, value; zstd

Values are written so that minitruectl import reads the same bits. What a format cannot carry is left out and told: native histograms
by all but jsonl, stale markers and the payloads of NaN by openmetrics. Memory is bounded, whatever the size.`,
		Example: `  minitruectl export --match '{site="a"}' --start 2026-01-01T00:00:00Z --format parquet --output a.parquet
  minitruectl export --data-dir ./data --format csv | gzip > all.csv.gz`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.export(c); err != nil {
				return fmt.Errorf("export: %w", err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&f.url, "url", "http://127.0.0.1:8080", "the server to read from; without a path it is /api/v1/read")
	c.Flags().StringVar(&f.dir, "data-dir", "", "the data folder of a stopped node, to be read instead of a server")
	c.Flags().StringVar(&f.format, "format", "csv", strings.Join(format.Formats, ", "))
	c.Flags().StringVarP(&f.out, "output", "o", "-", "the file to write; - is standard output")
	f.sel.add(c)
	return c
}

func (f *exportFlags) export(c *cobra.Command) error {
	if !slices.Contains(format.Formats, f.format) {
		return fmt.Errorf("--format %q: it is one of %s", f.format, strings.Join(format.Formats, ", "))
	}
	if f.dir != "" && c.Flags().Changed("url") {
		return errors.New("--url and --data-dir: give one of them")
	}
	sets, err := f.sel.matchers()
	if err != nil {
		return err
	}
	mint, maxt, err := f.sel.times()
	if err != nil {
		return err
	}
	from, closeOrigin, err := f.origin()
	if err != nil {
		return err
	}
	to, err := create(f.out, c.OutOrStdout())
	if err != nil {
		return errors.Join(err, closeOrigin())
	}
	x := exporter{from: from, sets: sets, mint: mint, maxt: maxt, meter: progress.Items(c.ErrOrStderr(), "export", "samples"), warn: c.ErrOrStderr()}
	err = x.meter.While(func() error { return x.run(c.Context(), f.format, to) })
	err = errors.Join(to.finish(err), closeOrigin())
	if f.dir != "" {
		tellAside(c.ErrOrStderr(), "export", f.dir)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "exported %d samples of %d series\n", x.meter.Done(), x.series)
	if s := x.w.Skipped(); s.Any() {
		fmt.Fprintf(c.ErrOrStderr(), "%s cannot carry everything: %s\n", f.format, s)
	}
	return nil
}

func (f *exportFlags) origin() (origin, func() error, error) {
	if f.dir == "" {
		s, err := serverOf(f.url)
		return s, func() error { return nil }, err
	}
	s, err := openFolder(f.dir)
	if err != nil {
		return nil, nil, err
	}
	return s, s.close, nil
}

// exporter is an export on its way.
type exporter struct {
	from       origin
	sets       [][]*labels.Matcher
	mint, maxt int64
	meter      *progress.Meter
	warn       io.Writer

	w      format.Writer
	about  map[string]*series.Metadata
	series int
	last   labels.Labels
	seen   once
}

func (x *exporter) run(ctx context.Context, name string, to io.Writer) (err error) {
	if x.w, err = format.NewWriter(name, to); err != nil {
		return err
	}
	x.seen.sets = len(x.sets)
	if name == "openmetrics" {
		err = x.families(ctx)
	} else {
		for _, ms := range x.sets {
			if err = x.from.Samples(ctx, x.query(ms), x.seen.filter(x.emit)); err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	return x.w.Close()
}

func (x *exporter) query(ms []*labels.Matcher) fetch.Query {
	// Far ends overflow in what servers compute with them.
	return fetch.Query{MinTime: max(x.mint, math.MinInt64/4), MaxTime: min(x.maxt, math.MaxInt64/4), Matchers: ms}
}

func (x *exporter) emit(r *flow.Run) error {
	if !labels.Equal(r.Labels, x.last) {
		x.series++
		x.last = r.Labels
	}
	x.meter.Add(int64(len(r.Floats) + len(r.Histograms)))
	return x.w.Write(r)
}

// families exports one metric after the other, those of a family together, as OpenMetrics asks for it.
func (x *exporter) families(ctx context.Context) (err error) {
	if x.about, err = x.from.Metadata(ctx); err != nil {
		fmt.Fprintln(x.warn, "types of metrics are unknown:", err)
	}
	var names []string
	for _, ms := range x.sets {
		more, err := x.from.Names(ctx, x.query(ms))
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	family := func(name string) string { return format.Family(name, fetch.Describe(x.about, name)) }
	slices.SortFunc(names, func(a, b string) int {
		if n := strings.Compare(family(a), family(b)); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	for _, name := range slices.Compact(names) {
		about := fetch.Describe(x.about, name)
		seen := once{sets: len(x.sets)}
		for _, ms := range x.sets {
			ms = append(slices.Clone(ms), labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
			err := x.from.Samples(ctx, x.query(ms), seen.filter(func(r *flow.Run) error {
				r.About = about
				return x.emit(r)
			}))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// output is a file that gets its name when it is whole, or standard output.
type output struct {
	*bufio.Writer
	f    *os.File
	path string
}

func create(path string, stdout io.Writer) (*output, error) {
	if path == "-" {
		return &output{Writer: bufio.NewWriterSize(stdout, 64<<10)}, nil
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &output{bufio.NewWriterSize(f, 256<<10), f, path}, nil
}

// finish closes the file, and removes it after an error.
func (o *output) finish(err error) error {
	err = errors.Join(err, o.Flush())
	if o.f == nil {
		return err
	}
	err = errors.Join(err, o.f.Sync(), o.f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(o.f.Name()))
	}
	return os.Rename(o.f.Name(), o.path)
}
