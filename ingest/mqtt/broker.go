package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Broker is an MQTT 3.1.1 and 5 broker that stores what is published under its prefix.
type Broker struct {
	o        BrokerOptions
	prefix   prefix
	users    *users
	m        *metrics
	letters  DeadLetters
	collect  *collector
	sessions sessions
	retained retained
	server   *mochi.Server
	twins    sync.Pool    // of *mochi.Client: see deliver
	heard    atomic.Bool  // somebody has subscribed, ever
	promised atomic.Int64 // bytes of large packets that are on their way
	outgoing atomic.Int64 // bytes that wait for readers
	ready    chan struct{}
	addr     net.Addr // before ready is closed

	mu    sync.Mutex // guards conns and stops
	conns map[*conn]struct{}
	stops bool
	wg    sync.WaitGroup // goroutines of connections
}

// NewBroker returns a broker that Run starts. Batches go to next, and what cannot be stored to letters.
func NewBroker(next Appender, letters DeadLetters, o BrokerOptions) *Broker {
	o = o.withDefaults()
	b := &Broker{
		o: o, prefix: prefix(o.Prefix), users: newUsers(o.Users), m: newMetrics(o.Registerer, "broker"), letters: letters,
		ready: make(chan struct{}), conns: map[*conn]struct{}{},
		retained: retained{maxCount: maxRetained, maxBytes: o.RetainedBytes},
	}
	b.sessions.maxKept, b.sessions.maxReceipts = int64(o.KeptBytes), int64(o.MaxReceipts)
	b.collect = newCollector(next, letters, o.Tuning, o.Logger, b.m)
	b.server = mochi.New(&mochi.Options{
		Capabilities:           b.capabilities(),
		SysTopicResendInterval: 60,
		Logger:                 slog.New(slog.DiscardHandler), // it logs whole packets
	})
	b.twins.New = func() any { return b.server.NewClient(nil, mochi.LocalListener, "", true) }
	return b
}

func (b *Broker) capabilities() *mochi.Capabilities {
	c := mochi.NewDefaultServerCapabilities()
	c.MaximumPacketSize = uint32(b.o.PacketMax)
	c.MaximumSessionExpiryInterval = uint32(b.o.SessionExpiry / time.Second)
	c.MaximumMessageExpiryInterval = 0 // messages expire when their publisher says so
	c.MaximumClientWritesPending = maxOutbound
	c.MaximumInflight = maxInflight
	c.ReceiveMaximum = receiveMaximum
	c.TopicAliasMaximum = 0
	return c
}

// Ready is closed when the broker accepts connections.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// Addr is where the broker listens. It is known once the broker is ready.
func (b *Broker) Addr() net.Addr {
	<-b.ready
	return b.addr
}

// Run serves until ctx is done. Then it reads no more, commits and acknowledges what it has read,
// and returns. It can be called once.
func (b *Broker) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", b.o.Listen)
	if err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	defer ln.Close()
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	b.addr = ln.Addr()
	close(b.ready)
	b.o.Logger.Info("the MQTT broker listens", "address", b.addr.String(), "tls", b.o.TLS != nil, "users", len(b.o.Users))

	commits, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	var work sync.WaitGroup
	work.Go(func() { b.collect.run(commits) })
	work.Go(func() { b.accept(ln) })

	<-ctx.Done()
	ln.Close()
	b.stop()
	patience := time.AfterFunc(b.o.Tuning.DrainFor, giveUp)
	defer patience.Stop()
	b.collect.close()
	work.Wait()
	for _, c := range b.all() {
		b.expel(c, packets.ErrServerShuttingDown)
	}
	b.wg.Wait()
	return b.server.Close()
}

// accept takes connections until the listener is closed.
func (b *Broker) accept(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, say
			b.o.Logger.Warn("cannot accept a connection", "err", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if b.o.TLS != nil {
			nc = tls.Server(nc, b.o.TLS) // the first Read shakes hands
		}
		c := newConn(b, nc)
		if !b.enter(c) {
			b.m.refused.WithLabelValues("connections").Inc()
			_ = nc.Close()
			continue
		}
		go func() {
			defer b.leave(c)
			b.serve(c)
		}()
	}
}

// enter registers a connection, unless there are too many.
func (b *Broker) enter(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stops || len(b.conns) >= b.o.MaxConnections {
		return false
	}
	b.conns[c] = struct{}{}
	b.wg.Add(1)
	b.m.connections.Set(float64(len(b.conns)))
	return true
}

func (b *Broker) leave(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	b.m.connections.Set(float64(len(b.conns)))
	b.wg.Done()
}

// stop lets no connection in and reads from none.
func (b *Broker) stop() {
	b.mu.Lock()
	b.stops = true
	b.mu.Unlock()
	for _, c := range b.all() {
		c.drain()
	}
}

func (b *Broker) all() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		out = append(out, c)
	}
	return out
}

// serve speaks with one client until it goes, whatever it sends.
func (b *Broker) serve(c *conn) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(b.o.ConnectTimeout))
	var writer sync.WaitGroup
	writer.Go(c.write)
	defer writer.Wait()
	defer c.Close()
	defer func() { b.promised.Add(-int64(c.promises.large)) }()
	defer func() {
		if r := recover(); r != nil { // the library does, on some malformed packets
			b.m.dropped.WithLabelValues("panic").Inc()
			b.o.Logger.Warn("a client sent a packet that cannot be decoded", "remote", c.RemoteAddr().String(), "err", r)
			b.o.Logger.Debug("where the packet failed", "stack", string(debug.Stack()))
			b.abandon(c)
		}
	}()
	err := b.server.EstablishConnection("mqtt", c)
	b.o.Logger.Debug("a connection ended", "remote", c.RemoteAddr().String(), "err", err)
}

// abandon does for a client what the library could not do, because it panicked.
func (b *Broker) abandon(c *conn) {
	cl := c.client.Load()
	if cl == nil {
		return
	}
	cl.Stop(packets.ErrMalformedPacket)
	if w := cl.Properties.Will; w.Flag != 0 {
		pk := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: w.Qos, Retain: w.Retain},
			TopicName:   w.TopicName, Payload: w.Payload, PacketID: uint16(w.Qos),
			Properties: packets.Properties{User: w.User},
		}
		b.deliver(cl.ID, c.version, &pk)
	}
	if cur, ok := b.server.Clients.Get(cl.ID); ok && cur == cl {
		cl.ClearInflights()
		b.server.UnsubscribeClient(cl)
		b.server.Clients.Delete(cl.ID)
		b.sessions.drop(cl.ID, c.session)
	}
}

// expel ends a connection, with a reason where the protocol has room for one.
func (b *Broker) expel(c *conn, why packets.Code) {
	switch cl := c.client.Load(); {
	case cl == nil:
		_ = c.Close()
	case c.version == 5:
		_ = b.server.DisconnectClient(cl, why)
	default:
		cl.Stop(why)
	}
}
