package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/simulate"
)

func newSimulate() *cobra.Command {
	var (
		o        simulate.Options
		qos      int
		rate     float64
		duration time.Duration
		password string
	)
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Publish the readings of made-up sensors over MQTT",
		Long: `Publish the readings of made-up sensors over MQTT, until interrupted.

Every device has a sensor for every metric. A reading is a message on <topic>/<metric>:
{"device_id":"device-1","metric_name":"temperature","timestamp":1700000000000,"value":21.5}`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if qos < 0 || qos > 2 {
				return fmt.Errorf("--qos %d: want 0, 1 or 2", qos)
			}
			o.QoS = byte(qos)
			if c.Flags().Changed("rate") {
				if rate <= 0 {
					return fmt.Errorf("--rate %g: want more than 0 readings a second", rate)
				}
				o.Interval = time.Duration(float64(time.Second) / rate)
			}
			if password != "" {
				b, err := os.ReadFile(password)
				if err != nil {
					return fmt.Errorf("--password-file: %w", err)
				}
				o.Password = strings.TrimRight(string(b), "\r\n")
			}
			ctx := c.Context()
			if duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, duration)
				defer cancel()
			}
			o.Logger = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			s, err := simulate.New(o)
			if err != nil {
				return err
			}
			err = s.Run(ctx)
			fmt.Fprintf(c.OutOrStdout(), "published %d readings, dropped %d\n", s.Sent(), s.Dropped())
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&o.Broker, "broker", "tcp://127.0.0.1:1883", "URL of the MQTT broker")
	f.IntVar(&o.Devices, "devices", 3, "how many devices there are")
	f.StringSliceVar(&o.Metrics, "metrics", []string{"temperature", "humidity", "pressure"}, "what each device measures")
	f.DurationVar(&o.Interval, "interval", time.Second, "time between two readings of a sensor")
	f.Float64Var(&rate, "rate", 1, "readings a second of a sensor, instead of --interval")
	f.IntVar(&qos, "qos", 1, "quality of service: 0, 1 or 2")
	f.DurationVar(&duration, "duration", 0, "how long to publish; 0 means until interrupted")
	f.Uint64Var(&o.Seed, "seed", 1, "of the values: equal seeds give equal values")
	f.StringVar(&o.Topic, "topic", "iot/sensors", "prefix of the topics")
	f.StringVar(&o.Username, "username", "", "for the broker")
	f.StringVar(&password, "password-file", "", "file with the password for the broker")
	c.MarkFlagsMutuallyExclusive("interval", "rate")
	return c
}
