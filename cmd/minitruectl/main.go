package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newRoot().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "minitruectl:", err)
		os.Exit(1)
	}
}

// newRoot builds the whole tree of commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "minitruectl",
		Short:         "Simulate sensors, measure servers; verify, save, move and look into the data of MiniTrue",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	root.AddCommand(
		newSimulate(),
		group("bench", "Measure a server from outside", newBenchLoad(), newBenchQuery(), newBenchMQTT(), newBenchCheck(), newBenchCompare(), newBenchCluster()),
		group("wal", "Look into a write-ahead log", newWALDump(), newWALRepair()),
		group("block", "Look into a block", newBlockInspect()),
		newRing(),
		newHealth(),
		newVerify(),
		newBackup(),
		newRestore(),
		newImport(),
		newExport(),
	)
	return root
}

func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(children...)
	return c
}
