package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

func newHealth() *cobra.Command {
	var (
		url  string
		wait time.Duration
	)
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a node whether it is ready; exit code 1 if it is not",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			target, err := bench.Endpoint(url, "/-/ready")
			if err != nil {
				return err
			}
			begin := time.Now()
			for {
				err := ready(c.Context(), target)
				if err == nil {
					fmt.Fprintln(c.OutOrStdout(), "ready")
					return nil
				}
				if time.Since(begin) >= wait || c.Context().Err() != nil {
					return err
				}
				time.Sleep(20 * time.Millisecond)
			}
		},
	}
	c.Flags().StringVar(&url, "url", "http://127.0.0.1:8080", "of the node; without a path it is /-/ready")
	c.Flags().DurationVar(&wait, "wait", 0, "how long to go on asking")
	return c
}

func ready(ctx context.Context, target string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", target, resp.Status, body)
	}
	return nil
}
