package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Options of a Simulator. The zero value is usable.
type Options struct {
	Broker   string           // URL; "" means tcp://127.0.0.1:1883
	Devices  int              // 0 means 3
	Metrics  []string         // nil means temperature, humidity and pressure
	Interval time.Duration    // between two readings of a sensor; 0 means 1 s
	QoS      byte             // 0, 1 or 2
	Seed     uint64           // of the values: equal seeds make equal walks
	Topic    string           // prefix of the topics; "" means iot/sensors
	ClientID string           // "" means a name that the clock makes unique
	Username string           // "" means none
	Password string           //
	Logger   *slog.Logger     // nil means none
	Now      func() time.Time // nil means time.Now
}

func (o Options) withDefaults() Options {
	if o.Broker == "" {
		o.Broker = "tcp://127.0.0.1:1883"
	}
	if o.Devices == 0 {
		o.Devices = 3
	}
	if o.Metrics == nil {
		o.Metrics = []string{"temperature", "humidity", "pressure"}
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Topic == "" {
		o.Topic = "iot/sensors"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ClientID == "" {
		o.ClientID = "minitrue-simulate-" + strconv.FormatInt(o.Now().UnixNano(), 36)
	}
	return o
}

// Simulator is a set of sensors that share one connection to a broker.
type Simulator struct {
	opts    Options
	rnd     *rand.Rand
	sensors []sensor
	sent    atomic.Int64
	dropped atomic.Int64
}

type sensor struct {
	topic  string
	prefix []byte // of the message, up to the timestamp
	walk   walk
}

// New makes the sensors. It does not connect.
func New(o Options) (*Simulator, error) {
	o = o.withDefaults()
	switch {
	case o.QoS > 2:
		return nil, fmt.Errorf("QoS %d: want 0, 1 or 2", o.QoS)
	case o.Devices < 0 || o.Interval < 0:
		return nil, fmt.Errorf("%d devices, one reading every %s: neither can be negative", o.Devices, o.Interval)
	}
	s := &Simulator{opts: o, rnd: rand.New(rand.NewPCG(o.Seed, 0))}
	for d := range o.Devices {
		for _, m := range o.Metrics {
			if m == "" || strings.ContainsAny(m, "+#/\"\\") {
				return nil, fmt.Errorf("metric name %q: it must fit into a topic", m)
			}
			s.sensors = append(s.sensors, sensor{
				topic:  o.Topic + "/" + m,
				prefix: fmt.Appendf(nil, `{"device_id":"device-%d","metric_name":%q,"timestamp":`, d+1, m),
				walk:   newWalk(m, s.rnd),
			})
		}
	}
	return s, nil
}

// Sent is the number of messages that the broker took; with QoS 0, that were written to it.
func (s *Simulator) Sent() int64 { return s.sent.Load() }

// Dropped is the number of readings that were taken while there was no broker to send them to.
func (s *Simulator) Dropped() int64 { return s.dropped.Load() }

// Run publishes until the context ends, which is no error. A broker that is away is
// asked again for as long as it takes; readings meanwhile are dropped, as simple sensors do.
func (s *Simulator) Run(ctx context.Context) error {
	o := s.opts
	log := o.Logger
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(o.Broker).SetClientID(o.ClientID).
		SetUsername(o.Username).SetPassword(o.Password).
		SetConnectRetry(true).SetConnectRetryInterval(500 * time.Millisecond).SetMaxReconnectInterval(5 * time.Second).
		SetOnConnectHandler(func(mqtt.Client) {
			log.Info("sensors are connected", "broker", o.Broker, "sensors", len(s.sensors))
		}).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			log.Warn("sensors lost their broker and will try again", "broker", o.Broker, "err", err)
		}))
	defer client.Disconnect(250)
	token := client.Connect()
	select {
	case <-ctx.Done():
		return nil
	case <-token.Done():
		if err := token.Error(); err != nil {
			return fmt.Errorf("connect sensors to %s: %w", o.Broker, err)
		}
	}
	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	for {
		if err := s.publish(ctx, client); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			log.Warn("a reading was not published", "broker", o.Broker, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// publish sends one reading of every sensor and waits until the broker has them.
func (s *Simulator) publish(ctx context.Context, client mqtt.Client) error {
	if !client.IsConnectionOpen() {
		s.dropped.Add(int64(len(s.sensors)))
		return nil
	}
	now := s.opts.Now().UnixMilli()
	tokens := make([]mqtt.Token, len(s.sensors))
	for i := range s.sensors {
		tokens[i] = client.Publish(s.sensors[i].topic, s.opts.QoS, false, s.sensors[i].message(now, s.rnd))
	}
	var errs error
	for _, t := range tokens {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.Done():
		}
		if err := t.Error(); err != nil {
			s.dropped.Add(1)
			errs = errors.Join(errs, err)
			continue
		}
		s.sent.Add(1)
	}
	return errs
}

// message is the next reading, in bytes that the client may keep.
func (s *sensor) message(ms int64, rnd *rand.Rand) []byte {
	b := make([]byte, 0, len(s.prefix)+40)
	b = append(b, s.prefix...)
	b = strconv.AppendInt(b, ms, 10)
	b = append(b, `,"value":`...)
	b = s.walk.next(b, rnd)
	return append(b, '}')
}
