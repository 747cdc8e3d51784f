package mqtt

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// BrokerOptions of the broker inside the node. The zero value is usable.
type BrokerOptions struct {
	Listen           string        // address; "" means 127.0.0.1:1883
	TLS              *tls.Config   // nil means no TLS
	Users            []User        // none means that anybody may do anything
	Prefix           string        // of the topics that are stored; "" means iot/sensors
	DeviceLabel      string        // that names the device of a series; "" means device_id
	PacketMax        int           // bytes of a packet; 0 means 1 MiB
	ConnectMax       int           // bytes of a CONNECT, before authentication; 0 means 64 KiB, or PacketMax when that is less
	MaxConnections   int           // 0 means 10,000
	MaxSessions      int           // connected or kept for later; 0 means twice MaxConnections
	MaxFilters       int           // subscriptions a client; 0 means 1,000
	MaxSubscriptions int           // of all clients; 0 means 100,000, or 10 a session when that is more. Then each may have 10
	ConnectTimeout   time.Duration // from accept to CONNECT; 0 means 10s
	PacketTimeout    time.Duration // for a large packet to come, beside what its length takes; 0 means 30s
	WriteTimeout     time.Duration // for a reader that does not take what is sent; 0 means 10s
	SessionExpiry    time.Duration // how long the session of a client that is away is kept; 0 means 7 days
	RetainedBytes    int           // of all retained messages; 0 means 64 MiB
	ReadBytes        int           // of all large packets that are on their way; 0 means 256 MiB
	OutBytes         int           // that wait for all readers; 0 means 256 MiB
	KeptBytes        int           // of all messages that clients have not acknowledged, those that are away among them; 0 means 256 MiB
	MaxReceipts      int           // messages of quality 2 of all clients that are stored and not released; 0 means 1,000,000
	Tuning           Tuning
	Now              func() time.Time      // for the time of receipt; nil means time.Now
	Logger           *slog.Logger          // nil discards
	Registerer       prometheus.Registerer // nil: the metrics count unseen
}

const (
	receiveMaximum = 4096 // messages that a client of MQTT 5 may have unacknowledged
	maxInflight    = 1024 // messages kept for a session that is away
	maxOutbound    = 1024 // messages that wait for the writer of a connection
	maxRetained    = 100_000
	filterShare    = 10 // subscriptions that a client may have in any case
)

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (o BrokerOptions) withDefaults() BrokerOptions {
	o.Listen = or(o.Listen, "127.0.0.1:1883")
	o.Prefix = or(o.Prefix, "iot/sensors")
	o.PacketMax = or(o.PacketMax, 1<<20)
	o.ConnectMax = min(or(o.ConnectMax, 64<<10), o.PacketMax)
	o.MaxConnections = or(o.MaxConnections, 10_000)
	o.MaxSessions = or(o.MaxSessions, 2*o.MaxConnections)
	o.MaxFilters = or(o.MaxFilters, 1000)
	o.MaxSubscriptions = or(o.MaxSubscriptions, max(100_000, filterShare*o.MaxSessions))
	o.ConnectTimeout = or(o.ConnectTimeout, 10*time.Second)
	o.WriteTimeout = or(o.WriteTimeout, 10*time.Second)
	o.SessionExpiry = or(o.SessionExpiry, 7*24*time.Hour)
	o.RetainedBytes = or(o.RetainedBytes, 64<<20)
	o.ReadBytes = or(o.ReadBytes, 256<<20)
	o.PacketTimeout = or(o.PacketTimeout, 30*time.Second)
	o.OutBytes = or(o.OutBytes, 256<<20)
	o.KeptBytes = or(o.KeptBytes, 256<<20)
	o.MaxReceipts = or(o.MaxReceipts, 1_000_000)
	o.Tuning = o.Tuning.withDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
