package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/client_golang/prometheus"
)

// ClientOptions of a subscription to a broker outside. The zero value reads from a
// broker on this machine.
type ClientOptions struct {
	URL         string // tcp://host:1883 or ssl://host:8883; "" means tcp://127.0.0.1:1883
	ID          string // of the session; stable, and different on each node; "" means minitrue
	Username    string
	Password    string
	TLS         *tls.Config // nil means the system's defaults
	Prefix      string      // of the topics to subscribe to; "" means iot/sensors
	DeviceLabel string      // that names the device of a series; "" means device_id
	Group       string      // of the shared subscription: the broker gives each message to one of the group; "" means minitrue

	// Alone subscribes without a group. Where the broker refuses shared subscriptions this is done by
	// itself; a broker of MQTT 3.1.1 that does not know them takes $share for a
	// topic, delivers nothing, and needs Alone. Several nodes that subscribe alone all store each
	// message, which changes nothing where messages have timestamps.
	Alone bool

	Tuning     Tuning
	Now        func() time.Time      // for the time of receipt; nil means time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
}

const (
	maxReconnect = 30 * time.Second
	netTimeout   = 10 * time.Second
)

// Client stores what an outside broker has. Its session is persistent and it acknowledges a message when
// that is stored: what is not stored, the broker sends again.
type Client struct {
	o       ClientOptions
	prefix  prefix
	collect *collector
	letters DeadLetters
	m       *metrics
	ready   chan struct{}
	once    sync.Once     // closes ready
	broken  chan struct{} // has one token when the connection must be made anew
}

// NewClient returns a client that Run connects. Batches go to next, and what cannot be stored to letters.
func NewClient(next Appender, letters DeadLetters, o ClientOptions) *Client {
	o.URL = or(o.URL, "tcp://127.0.0.1:1883")
	o.ID = or(o.ID, "minitrue")
	o.Prefix = or(o.Prefix, "iot/sensors")
	o.Group = or(o.Group, "minitrue")
	o.Tuning = o.Tuning.withDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(o.Registerer, "client")
	return &Client{
		o: o, prefix: prefix(o.Prefix), letters: letters, m: m,
		collect: newCollector(next, letters, o.Tuning, o.Logger, m),
		ready:   make(chan struct{}), broken: make(chan struct{}, 1),
	}
}

// Ready is closed when the client has subscribed for the first time.
func (c *Client) Ready() <-chan struct{} { return c.ready }

// Run reads from the broker until ctx is done, connecting again whenever that is needed. Then it
// commits and acknowledges what it has read, and returns. It can be called once.
func (c *Client) Run(ctx context.Context) error {
	commits, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	var work sync.WaitGroup
	work.Go(func() { c.collect.run(commits) })
	for ctx.Err() == nil {
		pc := paho.NewClient(c.options())
		pc.Connect() // tries for ever
		select {
		case <-ctx.Done():
			patience := time.AfterFunc(c.o.Tuning.DrainFor, giveUp)
			c.collect.close()
			work.Wait()
			patience.Stop()
		case <-c.broken:
			c.m.dropped.WithLabelValues("not_stored").Inc()
		}
		pc.Disconnect(250)
		c.m.connections.Set(0)
		if sleep(ctx, time.Second) {
			select {
			case <-c.broken: // said of the same connection
			default:
			}
		}
	}
	c.collect.close()
	work.Wait()
	return nil
}

func (c *Client) options() *paho.ClientOptions {
	o := paho.NewClientOptions().AddBroker(c.o.URL).SetClientID(c.o.ID).SetUsername(c.o.Username).SetPassword(c.o.Password)
	if c.o.TLS != nil {
		o.SetTLSConfig(c.o.TLS)
	}
	o.SetCleanSession(false).SetAutoAckDisabled(true).SetOrderMatters(true)
	o.SetConnectRetry(true).SetConnectRetryInterval(time.Second).SetAutoReconnect(true).SetMaxReconnectInterval(maxReconnect)
	o.SetKeepAlive(30 * time.Second).SetPingTimeout(netTimeout).SetConnectTimeout(netTimeout).SetWriteTimeout(netTimeout)
	o.SetDefaultPublishHandler(c.receive) // of the old session too, before subscribing
	o.SetOnConnectHandler(c.subscribe)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) {
		c.m.connections.Set(0)
		c.o.Logger.Warn("lost the MQTT broker, connecting again", "broker", c.o.URL, "err", err)
	})
	return o
}

// subscribe runs after each connect: the broker may have forgotten the session.
func (c *Client) subscribe(pc paho.Client) {
	c.m.connections.Set(1)
	plain := c.o.Prefix + "/#"
	filters := []string{"$share/" + c.o.Group + "/" + plain, plain}
	if c.o.Alone {
		filters = filters[1:]
	}
	for _, f := range filters {
		err := subscribe(pc, f)
		if err == nil {
			c.o.Logger.Info("subscribed", "broker", c.o.URL, "filter", f)
			c.once.Do(func() { close(c.ready) })
			return
		}
		c.o.Logger.Warn("cannot subscribe", "broker", c.o.URL, "filter", f, "err", err)
	}
	c.restart()
}

var errSubscribe = errors.New("the broker refused the subscription")

func subscribe(pc paho.Client, filter string) error {
	t := pc.Subscribe(filter, 1, nil)
	if !t.WaitTimeout(netTimeout) {
		return fmt.Errorf("no answer in %v", netTimeout)
	}
	if err := t.Error(); err != nil {
		return err
	}
	if st, ok := t.(*paho.SubscribeToken); ok && st.Result()[filter] > 2 {
		return errSubscribe
	}
	return nil
}

// never stands for the time of receipt of a retained message: it may have been published
// days ago, and without a timestamp of its own it is not stored.
const never = math.MinInt64

// receive only queues. While there is no room it blocks, and nothing more is read.
func (c *Client) receive(_ paho.Client, msg paho.Message) {
	p := parsed{label: c.o.DeviceLabel}
	m := message{from: c, topic: msg.Topic(), payload: msg.Payload(), ref: msg, qos: msg.Qos()}
	if c.prefix.has(m.topic) {
		c.m.messages.Inc()
		now := c.o.Now().UnixMilli()
		if msg.Retained() {
			now = never
		}
		readMessage(c.prefix, &p, m.topic, m.payload, msg.Retained(), now)
		if slices.ContainsFunc(p.items, func(it item) bool { return it.t == never }) {
			p.reset()
		}
		for _, f := range p.flaws {
			c.letters.Add(door, m.topic, f.reason, f.err, f.part)
		}
	}
	c.collect.add(m, &p)
}

// done acknowledges. What cannot be acknowledged since the connection is gone comes again.
func (c *Client) done(m *message) { m.ref.(paho.Message).Ack() }

func (c *Client) failed(m *message) {
	if m.qos > 0 {
		c.restart()
	}
}

func (c *Client) flush() {}

// restart asks Run for a new connection, on which the broker sends again what was not acknowledged.
func (c *Client) restart() {
	select {
	case c.broken <- struct{}{}:
	default:
	}
}
