package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/chunk/wal"
)

func newWALDump() *cobra.Command {
	var summary bool
	c := &cobra.Command{
		Use:   "dump <data folder, log folder or segment>",
		Short: "Print the records of a write-ahead log",
		Long: `Print the records of a write-ahead log, one item a line: segment, offset of the frame, type, content.

It only reads, so the node may be running. Damage is reported with the segment and the offset, the segment's
records up to there having been printed, and is exit code 1; what an interrupted write left behind at the end of
a segment is mentioned and is not damage by itself.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			paths, err := segments(args[0])
			if err != nil {
				return err
			}
			w := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
			d := dumper{w: w, summary: summary}
			var errs error
			for _, p := range paths {
				errs = errors.Join(errs, d.segment(p))
			}
			d.total(len(paths))
			return errors.Join(errs, w.Flush())
		},
	}
	c.Flags().BoolVar(&summary, "summary", false, "print only how many there are of each type")
	return c
}

func newWALRepair() *cobra.Command {
	return &cobra.Command{
		Use:   "repair <data folder or log folder>",
		Short: "Set the damaged segments of a write-ahead log aside and keep their good records",
		Long: `Set the damaged segments of a write-ahead log aside and keep their good records.

Stop the node first. Acknowledged samples that were in the damaged bytes are lost, unless the file is restored from
a copy; the original of each segment that is changed stays beside it as <segment>.damaged.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			done, err := wal.Repair(logFolder(args[0]))
			for _, line := range done {
				fmt.Fprintln(c.OutOrStdout(), line)
			}
			if err == nil && len(done) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "nothing is damaged")
			}
			return err
		},
	}
}

// logFolder is the folder of the segments: of a data folder it is the one called wal.
func logFolder(dir string) string {
	inner := filepath.Join(dir, "wal")
	if fi, err := os.Stat(inner); err == nil && fi.IsDir() {
		return inner
	}
	return dir
}

// segments lists the files that are meant, in order.
func segments(path string) ([]string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return []string{path}, nil
	}
	dir := logFolder(path)
	ns, err := wal.Segments(dir)
	if err != nil {
		return nil, err
	}
	if len(ns) == 0 {
		return nil, fmt.Errorf("%s has no segments of a write-ahead log", dir)
	}
	paths := make([]string, len(ns))
	for i, n := range ns {
		paths[i] = filepath.Join(dir, fmt.Sprintf("%012d.wal", n))
	}
	return paths, nil
}
