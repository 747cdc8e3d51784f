package mqtt

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// publish takes a valid PUBLISH from a client. It blocks while there is no room,
// so that nothing more is read from this connection.
func (b *Broker) publish(c *conn, pk *packets.Packet) {
	topic, qos := pk.TopicName, pk.FixedHeader.Qos
	if !mochi.IsValidFilter(topic, true) || !sane(topic) || !c.user.mayPublish(topic) {
		b.refuse(c, pk)
		return
	}
	if qos > 0 && c.version == 5 && c.waiting.Load() >= receiveMaximum {
		b.expel(c, packets.ErrReceiveMaximum)
		return
	}
	m := message{from: c, topic: topic, payload: pk.Payload, id: pk.PacketID, qos: qos}
	if qos == 2 {
		if m.receipt = b.begin(c, pk); m.receipt == nil {
			return
		}
	}
	if pk.FixedHeader.Retain || b.heard.Load() {
		own := *pk
		m.ref = &own
	}
	c.said.reset()
	defer c.said.trim()
	if b.prefix.has(topic) {
		b.read(&c.said, topic, pk.Payload, pk.FixedHeader.Retain)
	} else if c.waiting.Load() == 0 { // nothing to store, and nothing to wait for
		c.waiting.Add(1)
		c.done(&m)
		c.flush()
		return
	}
	c.waiting.Add(1)
	if !b.collect.add(m, &c.said) {
		c.waiting.Add(-1) // shutting down: the message is not acknowledged
	}
}

// begin returns the receipt of a message of quality 2, nil when it is not new.
func (b *Broker) begin(c *conn, pk *packets.Packet) *receipt {
	sum := xxhash.Sum64(pk.Payload) ^ xxhash.Sum64String(pk.TopicName)*31
	state, r := c.session.begin(pk.PacketID, sum, c, receiveMaximum)
	switch state {
	case stored:
		c.reply(packets.Pubrec, pk.PacketID)
		c.flush()
	case full:
		b.expel(c, packets.ErrReceiveMaximum)
	}
	return r
}

// read parses a message on a topic that is stored, and puts aside what is wrong with it.
func (b *Broker) read(p *parsed, topic string, payload []byte, retain bool) {
	b.m.messages.Inc()
	readMessage(b.prefix, p, topic, payload, retain, b.o.Now().UnixMilli())
	for _, f := range p.flaws {
		b.letters.Add(door, topic, f.reason, f.err, f.part)
	}
}

// readMessage parses a message whose topic lies under the prefix.
func readMessage(pre prefix, p *parsed, topic string, payload []byte, retain bool, now int64) {
	p.reset()
	if len(payload) == 0 && retain {
		return // takes a retained message away, and says nothing itself
	}
	at, ok := pre.place(topic)
	if !ok {
		p.flaw(payload, "topic", "the topic is not %s/{metric} or %s/{metric}/{device_id}", pre, pre)
		return
	}
	p.parse(at, payload, now)
}

// refuse answers a message on a topic that the client may not publish to. A client of 3.1.1 can only be told
// by closing the connection.
func (b *Broker) refuse(c *conn, pk *packets.Packet) {
	b.m.refused.WithLabelValues("topic").Inc()
	b.o.Logger.Debug("refused a topic", "remote", c.RemoteAddr().String(), "topic", fmt.Sprintf("%.128q", pk.TopicName))
	if b.prefix.has(pk.TopicName) {
		b.letters.Add(door, pk.TopicName, "not_authorized", errors.New("this user may not publish to this topic"), pk.Payload)
	}
	switch {
	case pk.FixedHeader.Qos == 0:
	case c.version < 5:
		b.expel(c, packets.ErrNotAuthorized)
	case pk.FixedHeader.Qos == 1:
		c.replyCode(packets.Puback, pk.PacketID, packets.ErrNotAuthorized)
		c.flush()
	default:
		c.replyCode(packets.Pubrec, pk.PacketID, packets.ErrNotAuthorized)
		c.flush()
	}
}

// done delivers and acknowledges a message.
func (c *conn) done(m *message) {
	if m.ref != nil {
		c.b.deliver(c.client.Load().ID, c.version, m.ref.(*packets.Packet))
	}
	switch m.qos {
	case 1:
		c.reply(packets.Puback, m.id)
	case 2:
		if to := c.session.commit(m.id, m.receipt); to != nil {
			to.reply(packets.Pubrec, m.id)
			if to != c {
				to.flush()
			}
		}
	}
	c.waiting.Add(-1)
}

// failed cuts off who waits for an acknowledgement, so that it sends again.
func (c *conn) failed(m *message) {
	if m.qos == 2 {
		if to := c.session.abort(m.id, m.receipt); to != nil && to != c {
			c.b.expel(to, packets.ErrServerUnavailable)
		}
	}
	if m.qos > 0 {
		c.b.m.dropped.WithLabelValues("not_stored").Inc()
		c.b.expel(c, packets.ErrServerUnavailable)
	}
	c.waiting.Add(-1)
}

// deliver retains a message and queues it for its subscribers. The library does so for
// what its own client publishes; a twin is that client with the name of the real one.
func (b *Broker) deliver(id string, version byte, pk *packets.Packet) {
	if pk.FixedHeader.Retain && !b.retained.keep(pk) {
		pk.FixedHeader.Retain = false
		b.m.refused.WithLabelValues("retained").Inc()
	}
	twin := b.twins.Get().(*mochi.Client)
	defer b.twins.Put(twin)
	twin.ID = id
	twin.Properties.ProtocolVersion = version
	if err := b.server.InjectPacket(twin, *pk); err != nil {
		b.o.Logger.Warn("a message was stored but not delivered", "err", err)
	}
}
