package mqtt_test

import (
	"context"
	"fmt"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/ingest/mqtt"
)

// printer is an appender and takes dead letters.
type printer struct{}

func (printer) Append(_ context.Context, b *series.Batch) error {
	for _, e := range b.Series {
		_ = series.EachLabel(e.Key, func(n, v string) { fmt.Printf("%s=%s ", n, v) })
		fmt.Println(b.Samples[e.First])
	}
	return nil
}

func (printer) Add(_, topic, reason string, err error, _ []byte) { fmt.Println(topic, reason, err) }

func ExampleBroker() {
	ctx, cancel := context.WithCancel(context.Background())
	b := mqtt.NewBroker(printer{}, printer{}, mqtt.BrokerOptions{Listen: "127.0.0.1:0"})
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()

	sensor := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + b.Addr().String()))
	sensor.Connect().Wait()
	sensor.Publish("iot/sensors/temperature", 1, false, `{"device_id":"d1","metric_name":"temperature","timestamp":1700000000,"value":21.5}`).Wait()
	sensor.Publish("iot/sensors/temperature", 1, false, `21.5`).Wait()
	sensor.Disconnect(0)
	cancel()
	fmt.Println(<-ended)
	// Output:
	// __name__=temperature device_id=d1 {1700000000000 21.5}
	// iot/sensors/temperature device_id_missing a plain value needs the device in the topic: {metric}/{device_id}
	// <nil>
}
