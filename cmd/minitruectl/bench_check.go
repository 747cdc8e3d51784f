package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

func newBenchCheck() *cobra.Command {
	var (
		o      bench.CheckOptions
		acked  string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "check",
		Short: "Read back by remote_read what a load was told is stored; exit code 1 if it is not",
		Long: `Read back by remote_read what a load was told is stored; exit code 1 if it is not.

Every acknowledged sample must be there, once, with the very bits that were sent. Samples that were sent
and not acknowledged may be there or not.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := os.Open(acked)
			if err != nil {
				return fmt.Errorf("--acked-log: %w", err)
			}
			defer f.Close()
			if o.Shape, o.Acked, err = bench.ReadAcked(f); err != nil {
				return err
			}
			r, err := bench.Check(c.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				return errors.Join(printJSON(c.OutOrStdout(), r), r.Err())
			}
			t := newTable(c.OutOrStdout())
			t.row("acknowledged", "%d samples in %d requests", r.Acked, len(o.Acked))
			t.row("read back", "%d samples", r.Read)
			t.row("lost", "%d", r.Lost)
			t.row("changed", "%d", r.Changed)
			t.row("doubled", "%d", r.Doubled)
			t.row("strange", "%d", r.Strange)
			for _, fault := range r.Faults {
				t.row("", "%s", fault)
			}
			return errors.Join(t.flush(), r.Err())
		},
	}
	f := c.Flags()
	f.StringVar(&o.URL, "url", "http://127.0.0.1:8080", "of the server, or of its remote_read door; without a path it is /api/v1/read")
	f.StringVar(&acked, "acked-log", "", "file that \"bench load --acked-log\" wrote")
	f.IntVar(&o.Read, "read", 500, "series a request")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	if err := c.MarkFlagRequired("acked-log"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

// baseURL is a server's URL without the path of one of its doors.
func baseURL(door string) (string, error) {
	full, err := bench.Endpoint(door, "/")
	if err != nil {
		return "", err
	}
	u, err := url.Parse(full)
	if err != nil {
		return "", err
	}
	return u.Scheme + "://" + u.Host, nil
}
