package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/progress"
	"github.com/minitrue/minitrue/cmd/internal/verify"
)

func newVerify() *cobra.Command {
	var (
		dir    string
		asJSON bool
		o      verify.Options
	)
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check every checksum, statistic and order of a data folder",
		Long: `Check every checksum, statistic and order of a data folder, and of the snapshots in it.

It only reads, so the node may be running: blocks never change, and the log only grows. What is wrong is listed with the file,
the offset, and what to do about it, and is exit code 1.`,
		Example: "  minitruectl verify --data-dir ./data",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Meter = progress.Bytes(c.ErrOrStderr(), "verify")
			var r verify.Report
			err := o.Meter.While(func() (err error) {
				r, err = verify.Folder(c.Context(), dir, o)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), r)
			} else {
				err = printVerified(c, r)
			}
			if err == nil && len(r.Findings) > 0 {
				err = fmt.Errorf("verify: %d things in %s are not what was written", len(r.Findings), dir)
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "./data", "the data folder")
	c.Flags().IntVar(&o.Workers, "workers", 2, "blocks to read at a time")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

func printVerified(c *cobra.Command, r verify.Report) error {
	w := c.OutOrStdout()
	for _, f := range r.Findings {
		fmt.Fprintln(w, f)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	t := newTable(w)
	t.row("blocks", "%d, of %d samples", r.Blocks, r.Samples)
	t.row("log", "%d segments, %d records", r.Segments, r.Records)
	t.row("read", "%.1f MiB", mebi(r.Bytes))
	if r.Gone > 0 {
		t.row("gone", "%d blocks were merged away or removed by the node meanwhile", r.Gone)
	}
	if len(r.Findings) == 0 {
		t.row("verified", "every checksum, order and statistic is right")
	}
	return t.flush()
}
