package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set by the linker in releases.
var version = "dev"

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "minitrue:", err)
		os.Exit(1)
	}
}

// command is the command line: exported flags stand in flags.go.
func command() *cobra.Command {
	f := defaults()
	c := &cobra.Command{
		Use:   "minitrue",
		Short: "A time-series store for sensors that speaks Prometheus and MQTT",
		Long: "minitrue runs a node: it accepts Prometheus remote_write and JSON readings over MQTT, keeps\n" +
			"them durably, and answers PromQL, remote_read and POST /query.",
		Args:          cobra.NoArgs,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.settle(c.Flags()); err != nil {
				return err
			}
			tuneGC()
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends the process at once
			return run(ctx, f, logger(f))
		},
	}
	f.register(c.Flags())
	// Underscores and dashes are the same in a flag's name.
	c.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	return c
}

func logger(f *flags) *slog.Logger {
	o := &slog.HandlerOptions{Level: f.level}
	var h slog.Handler = slog.NewTextHandler(os.Stderr, o)
	if f.LogFormat == "json" {
		h = slog.NewJSONHandler(os.Stderr, o)
	}
	return slog.New(h).With("node", f.NodeID)
}

// promqlVersion is the version of Prometheus whose engine and API these are, as it calls itself: its
// module v0.316.0 is Prometheus 3.16.0. Grafana chooses by it what to ask.
func promqlVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		var minor, patch int
		if n, _ := fmt.Sscanf(m.Version, "v0.%d.%d", &minor, &patch); m.Path == "github.com/prometheus/prometheus" && n == 2 {
			return fmt.Sprintf("%d.%d.%d", minor/100, minor%100, patch)
		}
	}
	return ""
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "dev" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return version
}
