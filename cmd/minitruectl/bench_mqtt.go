package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

func newBenchMQTT() *cobra.Command {
	var (
		o      bench.PublishOptions
		meter  bench.Meter
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "mqtt",
		Short: "Publish readings at QoS 1 and report how many are acknowledged a second",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := meter.Start(); err != nil {
				return err
			}
			r, err := bench.Publish(c.Context(), o)
			if r.Messages == 0 && err != nil {
				return err
			}
			cost, costErr := meter.Stop(r.Messages)
			if asJSON {
				return errors.Join(err, costErr, printJSON(c.OutOrStdout(), struct {
					bench.PublishReport
					Cost bench.Cost `json:"cost"`
				}{r, cost}))
			}
			t := newTable(c.OutOrStdout())
			t.row("acknowledged", "%d messages, %d connections with %d in flight", r.Messages, o.Connections, o.Inflight)
			t.row("wall time", "%.2f s, %.0f messages a second", r.Seconds, r.MessagesPerSecond)
			t.row("generator CPU", "%.2f s", r.GeneratorCPU)
			t.latency("PUBACK", r.Latency)
			t.cost(cost, "messages")
			return errors.Join(err, costErr, t.flush())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Broker, "broker", "127.0.0.1:1883", "host:port or tcp:// URL of the broker")
	f.IntVar(&o.Connections, "connections", 100, "how many clients, each of them one device")
	f.IntVar(&o.Inflight, "inflight", 20, "messages of a client that wait for their PUBACK")
	f.IntVar(&o.Messages, "messages", 1_000_000, "how many messages in all")
	f.StringVar(&o.Topic, "topic", "iot/sensors", "prefix of the topic")
	f.IntVar(&meter.PID, "pid", 0, "process id of the server, to measure its CPU and memory")
	f.StringVar(&meter.DataDir, "data-dir", "", "data folder of the server, to measure its size")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}
