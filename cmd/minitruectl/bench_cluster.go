package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/contest"
)

// clusterBench holds the flags of `bench cluster`.
type clusterBench struct {
	o     contest.ClusterOptions
	exe   string
	quick bool
	json  string
}

func newBenchCluster() *cobra.Command {
	k := &clusterBench{}
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Start clusters of MiniTrue on this machine and measure what forwarding, asking, joining and repairing cost",
		Long: `Start clusters of MiniTrue on loopback, one after the other, and print what they cost beside what they may.

Scenarios for --only:
  cost   the same load on one, three and five nodes: CPU of all of them for a stored copy
  query  one sensor through a node that does not own it; averages over 100 sensors for a week
  join   a fourth node joins three under load: what moves, and what writers notice
  away   a node is away under load: bytes until all have the same again, and what an idle cluster exchanges

Exits with 1 when answers are wrong or a node fails. A goal that is missed is reported as it is. Nothing else should
use the machine meanwhile, nor loopback.`,
		Example: `  minitruectl bench cluster > cluster.md
  minitruectl bench cluster --quick --only join`,
		Args: cobra.NoArgs,
		RunE: k.run,
	}
	f, d := c.Flags(), contest.FullCluster
	f.StringVar(&k.exe, "minitrue", "", "executable of MiniTrue; empty means beside minitruectl, or in PATH (go build -o bin/ ./cmd/minitrue)")
	f.StringSliceVar(&k.o.Only, "only", nil, "scenarios: "+strings.Join(contest.ClusterScenarios(), ", ")+"; empty means all")
	f.BoolVar(&k.quick, "quick", false, "small sizes, which take about three minutes; other sizes do not count then")
	f.StringVar(&k.o.Dir, "dir", "", "where nodes keep their data while they run; empty means the folder for temporary files")
	f.BoolVar(&k.o.Keep, "keep", false, "leave data and logs of the nodes there")
	f.StringVar(&k.json, "json", "", "file for the report with all raw numbers, as JSON; - means to standard output, instead of the table")
	z := &k.o.Sizes
	f.IntVar(&z.Series, "series", d.Series, "series of cost and join")
	f.IntVar(&z.Samples, "samples", d.Samples, "samples in all of join; cost has half of them")
	f.DurationVar(&z.Week, "week", d.Week, "how much of 100 sensors at 1 Hz query has")
	f.Float64Var(&z.Rate, "rate", d.Rate, "samples a second while nodes come and go")
	f.DurationVar(&z.Away, "away", d.Away, "how long a node is away")
	f.DurationVar(&z.Idle, "idle", d.Idle, "how long an equal cluster is watched")
	f.DurationVar(&z.Patience, "patience", d.Patience, "how long one question is asked again and again")
	return c
}

func (k *clusterBench) run(c *cobra.Command, _ []string) (err error) {
	if k.quick {
		k.o.Sizes = contest.QuickCluster
	}
	if k.o.Exe, err = executable(contest.Rivals()[0], k.exe); err != nil {
		return err
	}
	if k.o.Dir == "" {
		if k.o.Dir, err = os.MkdirTemp("", "minitrue-cluster-"); err != nil {
			return err
		}
		if !k.o.Keep {
			defer func() { err = errors.Join(err, os.RemoveAll(k.o.Dir)) }()
		}
	}
	k.o.Log = func(format string, args ...any) {
		fmt.Fprintf(c.ErrOrStderr(), time.Now().Format("15:04:05 ")+format+"\n", args...)
	}
	r, err := contest.RunCluster(c.Context(), k.o)
	if r == nil {
		return err
	}
	return errors.Join(err, printReport(c, r, k.json), r.Err())
}
