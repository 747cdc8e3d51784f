package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/fetch"
	"github.com/minitrue/minitrue/cmd/internal/flow"
	"github.com/minitrue/minitrue/cmd/internal/progress"
	"github.com/minitrue/minitrue/cmd/internal/promdata"
	"github.com/minitrue/minitrue/cmd/internal/send"
	"github.com/minitrue/minitrue/cmd/internal/transfer"
)

const importHelp = `

It writes by remote_write to --url, which may be any server that speaks it: 2.0 if the server does, else 1.0. What the server cannot take
at the moment is sent again, after as long as it asks for. Samples that it refuses are counted, told with the first reasons, and
are exit code 1; the others are stored. Sending samples again is harmless, so after an interruption the same command ends the work; with --state FILE
it goes on from where it was.`

// target says where an import goes.
type target struct {
	url    string
	state  string
	asJSON bool
	o      send.Options
}

func (t *target) add(c *cobra.Command) {
	c.Flags().StringVar(&t.url, "url", "http://127.0.0.1:8080", "the server to write to; without a path it is /api/v1/write")
	c.Flags().StringVar(&t.state, "state", "", "a file that remembers how far the import came")
	c.Flags().StringVar(&t.o.Protocol, "protocol", "", "1.0 or 2.0; without it what the server speaks")
	c.Flags().IntVar(&t.o.Lanes, "connections", 4, "requests at a time")
	c.Flags().IntVar(&t.o.Batch, "batch", 5000, "samples a request")
	c.Flags().DurationVar(&t.o.Patience, "patience", 10*time.Minute, "how long to wait for a server that takes nothing")
	c.Flags().BoolVar(&t.asJSON, "json", false, "print the report as JSON")
}

// load sends what a source holds and prints the report.
func (t *target) load(c *cobra.Command, src flow.Source) error {
	url, err := bench.Endpoint(t.url, "/api/v1/write")
	if err != nil {
		return err
	}
	if t.o.Lanes < 1 || t.o.Batch < 1 {
		return errors.New("--connections and --batch are at least 1")
	}
	t.o.URL = url
	t.o.Meter = progress.Items(c.ErrOrStderr(), "import", "samples")
	t.o.Log = func(s string) { fmt.Fprintln(c.ErrOrStderr(), "trying again:", s) }
	s, err := send.New(c.Context(), t.o)
	if err != nil {
		return err
	}
	begin := time.Now()
	err = t.o.Meter.While(func() error { return transfer.Run(c.Context(), src, s, transfer.Options{State: t.state}) })
	if closed := s.Close(); err == nil {
		err = closed
	}
	r := s.Report()
	if err := errors.Join(err, t.print(c.OutOrStdout(), r, time.Since(begin))); err != nil {
		return err
	}
	if r.Refused > 0 {
		return fmt.Errorf("import: %s refused %d samples, histograms and exemplars", url, r.Refused)
	}
	return nil
}

func (t *target) print(w io.Writer, r send.Report, took time.Duration) error {
	if t.asJSON {
		return printJSON(w, r)
	}
	x := newTable(w)
	x.row("sent", "%d samples, %d native histograms, %d exemplars in %d requests, %d retries", r.Samples, r.Histograms, r.Exemplars, r.Requests, r.Retries)
	x.row("took", "%s, %.0f a second, remote_write %s", took.Round(time.Millisecond), float64(r.Samples+r.Histograms)/took.Seconds(), r.Protocol)
	if r.Refused > 0 {
		x.row("refused", "%d", r.Refused)
	}
	for _, why := range r.Reasons {
		x.row("", "%s", why)
	}
	return x.flush()
}

func newImport() *cobra.Command {
	return group("import", "Write what others hold to a server",
		newImportPrometheus(), newImportRemoteRead(), newImportCSV(), newImportFile("openmetrics"), newImportFile("jsonl"), newImportFile("parquet"))
}

func newImportPrometheus() *cobra.Command {
	var (
		to  target
		sel selection
		src promdata.Source
	)
	c := &cobra.Command{
		Use:   "prometheus",
		Short: "Import a data folder of Prometheus's server: blocks and write-ahead log",
		Long: `Import a data folder of Prometheus's server, blocks and write-ahead log, native histograms too; exemplars and metadata are not in what
it keeps of the past. The server must be stopped, or the folder be a snapshot (POST /api/v1/admin/tsdb/snapshot). Prometheus's
code makes a temporary folder of links in it, or in --sandbox-dir on the same file system.` + importHelp,
		Example: "  minitruectl import prometheus --dir /var/lib/prometheus --url http://127.0.0.1:8080 --state import.json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			sets, err := sel.matchers()
			if err != nil {
				return err
			}
			if len(sets) > 1 {
				return errors.New("import prometheus: --match can be given once: import the rest in a second run")
			}
			if src.MinTime, src.MaxTime, err = sel.times(); err != nil {
				return err
			}
			src.Matchers = sets[0]
			return to.load(c, src)
		},
	}
	c.Flags().StringVar(&src.Dir, "dir", "", "the data folder (--storage.tsdb.path of the server)")
	c.Flags().StringVar(&src.Sandbox, "sandbox-dir", "", "where the temporary links are made; in the data folder without it")
	c.Flags().DurationVar(&src.Window, "window", 24*time.Hour, "how much time is read at once")
	_ = c.MarkFlagRequired("dir") // it exists
	sel.add(c)
	to.add(c)
	return c
}

func newImportRemoteRead() *cobra.Command {
	var (
		to     target
		sel    selection
		from   string
		window time.Duration
	)
	c := &cobra.Command{
		Use:   "remote-read",
		Short: "Import from a server that speaks remote_read",
		Long: `Import from a server that speaks remote_read: Prometheus, Thanos, Mimir, or another node. It is read in windows of time, from old to new, and what
the server knows of metric families goes with the samples.` + importHelp,
		Example: `  minitruectl import remote-read --from http://prometheus:9090 --start 2026-01-01T00:00:00Z --match '{job="node"}'`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			src, err := remoteSource(c, from, window, sel)
			if err != nil {
				return fmt.Errorf("import remote-read: %w", err)
			}
			return to.load(c, src)
		},
	}
	c.Flags().StringVar(&from, "from", "", "the server to read from; without a path it is /api/v1/read")
	c.Flags().DurationVar(&window, "window", 6*time.Hour, "how much time is read at once")
	_ = c.MarkFlagRequired("from") // it exists
	sel.add(c)
	to.add(c)
	return c
}

func remoteSource(c *cobra.Command, from string, window time.Duration, sel selection) (fetch.Source, error) {
	sets, err := sel.matchers()
	if err != nil {
		return fetch.Source{}, err
	}
	mint, maxt, err := sel.times()
	switch {
	case err != nil:
		return fetch.Source{}, err
	case len(sets) > 1:
		return fetch.Source{}, errors.New("--match can be given once: import the rest in a second run")
	case mint == math.MinInt64:
		return fetch.Source{}, errors.New("say by --start where the samples begin: reading goes window by window from there")
	case window < time.Minute:
		return fetch.Source{}, errors.New("--window is at least a minute")
	}
	server, err := serverOf(from)
	if err != nil {
		return fetch.Source{}, err
	}
	about, err := server.Metadata(c.Context())
	if err != nil {
		fmt.Fprintln(c.ErrOrStderr(), "metadata of metrics is not imported:", err)
	}
	return fetch.Source{
		Server: server, Query: fetch.Query{MinTime: mint, MaxTime: min(maxt, time.Now().UnixMilli()), Matchers: sets[0]}, Window: window, Tries: 5, About: about,
		Log: func(s string) { fmt.Fprintln(c.ErrOrStderr(), "reading again:", s) },
		Sleep: func(ctx context.Context, d time.Duration) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(d):
				return nil
			}
		},
	}, nil
}

// serverOf is the server at a URL.
func serverOf(url string) (fetch.Server, error) {
	read, err := bench.Endpoint(url, "/api/v1/read")
	if err != nil {
		return fetch.Server{}, err
	}
	api, err := bench.Endpoint(url, "")
	if err != nil {
		return fetch.Server{}, err
	}
	const suffix = "/api/v1/read"
	if n := len(api) - len(suffix); n > 0 && api[n:] == suffix {
		api = api[:n]
	}
	return fetch.Server{Read: read, API: api, Client: &http.Client{}}, nil
}

// fileName tells one content of a file from another.
func fileName(format string, f *os.File) string {
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return ""
	}
	abs, err := filepath.Abs(f.Name())
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %s of %d bytes, %s", format, abs, fi.Size(), fi.ModTime().UTC().Format(time.RFC3339Nano))
}
