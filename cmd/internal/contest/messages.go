package contest

import (
	"context"
	"fmt"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

// messages are readings by MQTT, which MiniTrue alone takes itself.
func messages(ctx context.Context, b *bout) error {
	meter := bench.Meter{PID: b.program.pid()}
	if err := meter.Start(); err != nil {
		return err
	}
	r, err := bench.Publish(ctx, bench.PublishOptions{Broker: b.broker, Messages: b.o.Sizes.Messages})
	if err != nil {
		return err
	}
	cost, err := meter.Stop(r.Messages)
	if err != nil {
		return err
	}
	b.raw("publish", map[string]any{"report": r, "cost": cost})
	b.logf("%s messages, %.0f a second", group(r.Messages), r.MessagesPerSecond)
	b.record(Figure{ID: "mqtt.rate", Name: fmt.Sprintf("QoS 1 messages a second, 100 connections with 20 in flight, %s in all", group(r.Messages)), Unit: Count, More: true}, float64(int64(r.MessagesPerSecond)))
	b.record(Figure{ID: "mqtt.cpu", Name: "server CPU a million of them", Unit: Seconds}, cost.CPUPerM)
	return nil
}
