package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
)

// PublishOptions say what to publish.
type PublishOptions struct {
	Broker      string    // host:port or tcp://host:port; "" means 127.0.0.1:1883
	Connections int       // 0 means 100
	Inflight    int       // messages of a connection that wait for their PUBACK; 0 means 20
	Messages    int       // over all connections; 0 means 1,000,000
	Topic       string    // prefix; "" means iot/sensors
	Start       time.Time // of the first reading's timestamp; zero means that the last one is about now
}

func (o PublishOptions) withDefaults() PublishOptions {
	if o.Broker == "" {
		o.Broker = "127.0.0.1:1883"
	}
	if o.Connections == 0 {
		o.Connections = 100
	}
	if o.Inflight == 0 {
		o.Inflight = 20
	}
	if o.Messages == 0 {
		o.Messages = 1_000_000
	}
	if o.Topic == "" {
		o.Topic = "iot/sensors"
	}
	if o.Start.IsZero() {
		o.Start = time.Now().Add(-time.Duration(o.Messages/max(o.Connections, 1)) * time.Millisecond)
	}
	return o
}

// PublishReport is what was published and how fast.
type PublishReport struct {
	Messages          int64   `json:"messages"` // acknowledged
	Seconds           float64 `json:"wall_seconds"`
	MessagesPerSecond float64 `json:"messages_per_second"`
	GeneratorCPU      float64 `json:"generator_cpu_seconds"`
	Latency           Latency `json:"latency"` // from PUBLISH to PUBACK
}

// Publish sends readings at QoS 1, of one device a connection, each at another millisecond, and waits
// until all are acknowledged. The client is as cheap as it can be, since it shares the machine with the server.
func Publish(ctx context.Context, o PublishOptions) (PublishReport, error) {
	o = o.withDefaults()
	if o.Connections < 0 || o.Inflight < 0 || o.Inflight > 65535 || o.Messages < 0 {
		return PublishReport{}, fmt.Errorf("publish: %d connections, %d in flight, %d messages: none can be negative, and at most 65535 in flight", o.Connections, o.Inflight, o.Messages)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	clients := make([]*publisher, o.Connections)
	for i := range clients {
		share := o.Messages / o.Connections
		if i < o.Messages%o.Connections {
			share++
		}
		c, err := dial(ctx, o, i, share)
		if err != nil {
			return PublishReport{}, fmt.Errorf("publish: connection %d of %d: %w", i+1, o.Connections, err)
		}
		defer c.conn.Close()
		stop := context.AfterFunc(ctx, func() { c.conn.Close() }) // ends a blocked read
		defer stop()
		clients[i] = c
	}

	cpu, begin := ownCPU(), time.Now()
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			if errs[i] = c.run(); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	r := PublishReport{Seconds: time.Since(begin).Seconds(), GeneratorCPU: (ownCPU() - cpu).Seconds()}
	var took []time.Duration
	for _, c := range clients {
		r.Messages += int64(c.acked)
		took = append(took, c.took...)
	}
	r.MessagesPerSecond = float64(r.Messages) / r.Seconds
	r.Latency = summarize(took)
	for _, err := range errs {
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return r, fmt.Errorf("publish: %w", err)
		}
	}
	return r, context.Cause(ctx)
}

func dial(ctx context.Context, o PublishOptions, n, messages int) (*publisher, error) {
	addr := o.Broker
	if strings.Contains(addr, "://") {
		u, err := url.Parse(addr)
		if err != nil {
			return nil, err
		}
		if u.Scheme != "tcp" && u.Scheme != "mqtt" {
			return nil, fmt.Errorf("broker %s: the scheme must be tcp", addr)
		}
		addr = u.Host
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	p, err := newPublisher(conn, o, n, messages)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}
