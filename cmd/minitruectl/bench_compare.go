package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/contest"
)

// compareCommand holds the flags of `bench compare`.
type compareCommand struct {
	exes    map[string]*string
	servers []string
	o       contest.Options
	quick   bool
	json    string
}

func newBenchCompare() *cobra.Command {
	k := &compareCommand{exes: map[string]*string{}}
	c := &cobra.Command{
		Use:   "compare",
		Short: "Run MiniTrue, VictoriaMetrics and Prometheus in turn on the same load, compare answers and print ratios",
		Long: `Run MiniTrue, VictoriaMetrics and Prometheus in turn on the same load and the same questions, check that their
answers agree with each other and with what was written, and print figures, ratios and goals as a table.

Scenarios for --only:
  ingest   100,000 series: CPU a sample, memory, disk after merging
  queries  PromQL, lists and POST /query on those
  million  a million new series: CPU a sample, memory
  week     100 sensors at 1 Hz for a week: averages over all of it
  real     series from --series-dir: bytes a sample, values changed
  churn    a tenth of the series replaced every ten minutes of a simulated day: memory
  start    time until ready after a stop and a kill -9, and what that loses
  mqtt     QoS 1 messages, MiniTrue only

Exits with 1 when answers disagree, written samples are lost or changed, or a server fails. A goal that is missed is
reported as it is.`,
		Example: `  minitruectl bench compare --series-dir recordings --json figures.json > figures.md
  minitruectl bench compare --quick --only ingest,queries --servers minitrue,victoriametrics`,
		Args: cobra.NoArgs,
		RunE: k.run,
	}
	f := c.Flags()
	var names []string
	for _, r := range contest.Rivals() {
		k.exes[r.Name] = f.String(r.Name, "", fmt.Sprintf("executable of %s; empty means beside minitruectl, or in PATH (%s)", r.Title, r.Missing))
		names = append(names, r.Name)
	}
	f.StringSliceVar(&k.servers, "servers", names, "who takes part")
	f.StringSliceVar(&k.o.Only, "only", nil, "scenarios: "+strings.Join(contest.Scenarios(), ", ")+"; empty means all")
	f.BoolVar(&k.quick, "quick", false, "small sizes, which take about three minutes; a size that is given counts all the same")
	f.StringVar(&k.o.Dir, "dir", "", "where servers keep their data while they run; empty means the folder for temporary files")
	f.BoolVar(&k.o.Keep, "keep", false, "leave data and logs of the servers there")
	f.StringVar(&k.o.Profiles, "profiles", "", "folder for CPU profiles of every server under every load and question, for go tool pprof; empty means none, and taking them disturbs the figures a little")
	f.IntVar(&k.o.Procs, "procs", 0, "GOMAXPROCS of every server; 0 means all processors")
	f.StringVar(&k.o.SeriesDir, "series-dir", "", `folder of CSV files of real series, one sample "time in ms,value" a line; empty leaves the scenario out`)
	f.StringVar(&k.json, "json", "", "file for the report with all raw numbers, as JSON; - means to standard output, instead of the table")
	k.sizes(c)
	return c
}

// sizes adds the flags that say how much there is to do.
func (k *compareCommand) sizes(c *cobra.Command) {
	f, z, d := c.Flags(), &k.o.Sizes, contest.Full
	f.IntVar(&z.Series, "series", d.Series, "series of ingest, queries and start")
	f.IntVar(&z.Samples, "samples", d.Samples, "samples of each of them, 10 s apart")
	f.IntVar(&z.Million, "new-series", d.Million, "series of million")
	f.IntVar(&z.MillionFirst, "new-samples", d.MillionFirst, "samples of each of them")
	f.IntVar(&z.MillionMore, "more-samples", d.MillionMore, "samples of each of them that come afterwards, for the bound of memory (400 take half an hour)")
	f.DurationVar(&z.Week, "week", d.Week, "how much of 100 sensors at 1 Hz")
	f.IntVar(&z.Churn, "churn-series", d.Churn, "active series of churn")
	f.DurationVar(&z.ChurnTime, "churn-time", d.ChurnTime, "simulated time of churn")
	f.IntVar(&z.Messages, "messages", d.Messages, "messages of mqtt")
	f.DurationVar(&z.Patience, "patience", d.Patience, "how long one question is asked again and again; up to four times that for 20 askings")
}

// shrink takes the quick sizes for those that were not given.
func (k *compareCommand) shrink(c *cobra.Command) {
	given := k.o.Sizes
	k.o.Sizes = contest.Quick
	for flag, set := range map[string]func(){
		"series":       func() { k.o.Sizes.Series = given.Series },
		"samples":      func() { k.o.Sizes.Samples = given.Samples },
		"new-series":   func() { k.o.Sizes.Million = given.Million },
		"new-samples":  func() { k.o.Sizes.MillionFirst = given.MillionFirst },
		"more-samples": func() { k.o.Sizes.MillionMore = given.MillionMore },
		"week":         func() { k.o.Sizes.Week = given.Week },
		"churn-series": func() { k.o.Sizes.Churn = given.Churn },
		"churn-time":   func() { k.o.Sizes.ChurnTime = given.ChurnTime },
		"messages":     func() { k.o.Sizes.Messages = given.Messages },
		"patience":     func() { k.o.Sizes.Patience = given.Patience },
	} {
		if c.Flags().Changed(flag) {
			set()
		}
	}
}

func (k *compareCommand) run(c *cobra.Command, _ []string) (err error) {
	if k.quick {
		k.shrink(c)
	}
	if k.o.Rivals, err = k.rivals(); err != nil {
		return err
	}
	if k.o.Dir == "" {
		if k.o.Dir, err = os.MkdirTemp("", "minitrue-compare-"); err != nil {
			return err
		}
		if !k.o.Keep {
			defer func() { err = errors.Join(err, os.RemoveAll(k.o.Dir)) }()
		}
	}
	k.o.Log = func(format string, args ...any) {
		fmt.Fprintf(c.ErrOrStderr(), time.Now().Format("15:04:05 ")+format+"\n", args...)
	}
	r, err := contest.Run(c.Context(), k.o)
	if r == nil {
		return err
	}
	return errors.Join(err, printReport(c, r, k.json), r.Err())
}

// printReport writes the report, of a run that was interrupted too; file is where to put it as JSON.
func printReport(c *cobra.Command, r *contest.Report, file string) error {
	if file == "-" {
		return printJSON(c.OutOrStdout(), r)
	}
	if _, err := fmt.Fprint(c.OutOrStdout(), r.Markdown()); err != nil || file == "" {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(printJSON(f, r), f.Close())
}

// rivals finds the executables of those who take part.
func (k *compareCommand) rivals() (found []contest.Rival, err error) {
	var errs []error
	all := contest.Rivals()
	for _, name := range k.servers {
		if !slices.ContainsFunc(all, func(r contest.Rival) bool { return r.Name == name }) {
			errs = append(errs, fmt.Errorf("--servers: there is no %q", name))
		}
	}
	for _, r := range all {
		if !slices.Contains(k.servers, r.Name) {
			continue
		}
		if r.Exe, err = executable(r, *k.exes[r.Name]); err != nil {
			errs = append(errs, err)
		}
		found = append(found, r)
	}
	return found, errors.Join(errs...)
}

// executable is the one that was given, one beside this program, or one in PATH.
func executable(r contest.Rival, given string) (string, error) {
	names := map[string]string{contest.MiniTrue: "minitrue", contest.VictoriaMetrics: "victoria-metrics", contest.Prometheus: "prometheus"}
	candidates := []string{given}
	if given == "" {
		candidates = []string{names[r.Name]}
		if own, err := os.Executable(); err == nil {
			candidates = []string{filepath.Join(filepath.Dir(own), names[r.Name]), names[r.Name]}
		}
	}
	for _, name := range candidates {
		if exe, err := exec.LookPath(name); err == nil {
			return filepath.Abs(exe)
		}
	}
	return "", fmt.Errorf("%s is not at %s: get it by `%s`, say where it is with --%s, or leave it out with --servers",
		r.Title, strings.Join(candidates, " nor "), r.Missing, r.Name)
}
