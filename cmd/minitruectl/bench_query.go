package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

func newBenchQuery() *cobra.Command {
	var (
		o      bench.QueryOptions
		series int
		end    string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "query",
		Short: "Time queries over what `bench load` wrote",
		Long: `Time queries over what "bench load" wrote: PromQL of several shapes over the last hour of the load, lists of
labels and series, and MiniTrue's POST /query. A question that a server does not know is reported and left out.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			base, err := baseURL(o.URL)
			if err != nil {
				return err
			}
			o.URL = base
			var at int64
			if end == "" {
				at, err = bench.LastSample(c.Context(), base, time.Now())
			} else {
				var t time.Time
				t, err = time.Parse(time.RFC3339, end)
				at = t.UnixMilli()
			}
			if err != nil {
				return fmt.Errorf("--end: %w", err)
			}
			reports, err := bench.Ask(c.Context(), o, append(bench.Questions(series, at), bench.Aggregates(at)...))
			if asJSON {
				return errors.Join(err, printJSON(c.OutOrStdout(), reports))
			}
			t := newTable(c.OutOrStdout())
			fmt.Fprintln(t.w, "question\tresults\tmedian ms\tp90 ms\tmin ms\tserver CPU ms")
			for _, r := range reports {
				if r.Err != "" {
					t.row(r.Name, "refused: %s", r.Err)
					continue
				}
				cpu := "–"
				if o.PID != 0 {
					cpu = fmt.Sprintf("%.2f", r.CPU)
				}
				t.row(r.Name, "%d\t%.2f\t%.2f\t%.2f\t%s", r.Results, r.Latency.Median, r.Latency.P90, r.Latency.Min, cpu)
			}
			return errors.Join(err, t.flush())
		},
	}
	f := c.Flags()
	f.StringVar(&o.URL, "url", "http://127.0.0.1:8080", "of the server")
	f.IntVar(&o.Times, "times", 20, "how often each question is asked")
	f.IntVar(&o.PID, "pid", 0, "process id of the server, to measure its CPU")
	f.IntVar(&series, "series", 100_000, "how many series \"bench load\" wrote")
	f.StringVar(&end, "end", "", "end of the hour that is asked about, RFC 3339; empty means the newest sample of the load")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}
