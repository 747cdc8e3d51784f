package mqtt

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is where the library asks this package. The library does CONNECT, subscriptions,
// sessions and delivery; every PUBLISH is taken from it in OnPacketRead, before it
// can be acknowledged.
type hook struct {
	mochi.HookBase
	b *Broker
}

func (h *hook) ID() string { return "minitrue" }

func (h *hook) Provides(what byte) bool {
	switch what {
	case mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnSessionEstablish, mochi.OnSessionEstablished,
		mochi.OnQosPublish, mochi.OnQosComplete, mochi.OnQosDropped, mochi.OnDisconnect,
		mochi.OnPacketRead, mochi.OnPacketEncode, mochi.OnSubscribe, mochi.OnWill, mochi.OnRetainMessage, mochi.OnWillSent, mochi.OnClientExpired, mochi.OnRetainedExpired:
		return true
	}
	return false
}

// OnConnect decides whether a client may connect. When it returns an error, it has answered.
func (h *hook) OnConnect(cl *mochi.Client, pk packets.Packet) error {
	c := cl.Net.Conn.(*conn)
	code, reason := h.admit(c, cl, pk)
	if code == packets.CodeSuccess {
		return nil
	}
	h.b.m.refused.WithLabelValues(reason).Inc()
	h.b.o.Logger.Warn("refused a client", "remote", c.RemoteAddr().String(), "client", fmt.Sprintf("%.128q", cl.ID),
		"user", fmt.Sprintf("%.128q", pk.Connect.Username), "reason", reason)
	if code == packets.ErrNotAuthorized && cl.Properties.ProtocolVersion < 5 {
		code = packets.Err3NotAuthorized
	}
	if err := h.b.server.SendConnack(cl, code, false, nil); err != nil {
		return err
	}
	return code
}

func (h *hook) admit(c *conn, cl *mochi.Client, pk packets.Packet) (packets.Code, string) {
	user, ok := h.b.users.login(string(pk.Connect.Username), pk.Connect.Password)
	if !ok {
		return packets.ErrBadUsernameOrPassword, "login"
	}
	c.user = user
	old, known := h.b.server.Clients.Get(cl.ID)
	switch {
	case len(cl.ID) > maxName:
		return packets.ErrClientIdentifierNotValid, "client_id"
	case known && user != nil && !bytes.Equal(old.Properties.Username, pk.Connect.Username):
		return packets.ErrNotAuthorized, "client_id"
	case !known && h.b.server.Clients.Len() >= h.b.o.MaxSessions:
		return packets.ErrServerUnavailable, "sessions"
	}
	if will := pk.Connect.WillTopic; pk.Connect.WillFlag && (!mochi.IsValidFilter(will, true) || !sane(will) || !user.mayPublish(will)) {
		return packets.ErrNotAuthorized, "will"
	}
	return packets.CodeSuccess, ""
}

func (h *hook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true } // OnConnect has

// OnACLCheck is asked for filters to subscribe to and for topics to deliver. Publishing is judged in publish.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	c, ok := cl.Net.Conn.(*conn)
	return write || !ok || c.user.maySubscribe(topic)
}

// OnSessionEstablish prepares an authenticated client's connection, before its session is looked up.
func (h *hook) OnSessionEstablish(cl *mochi.Client, pk packets.Packet) {
	c := cl.Net.Conn.(*conn)
	c.version = cl.Properties.ProtocolVersion
	c.keepalive = time.Duration(cl.State.Keepalive) * time.Second
	if c.keepalive == 0 {
		_ = c.Conn.SetReadDeadline(time.Time{})
	}
	// The window of conn takes the place of the library's send quota; without this property it keeps none.
	c.mu.Lock()
	c.window.max = int(cl.Properties.Props.ReceiveMaximum)
	c.window.resuming = true
	c.mu.Unlock()
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)

	c.session = h.b.sessions.attach(cl.ID, pk.Connect.Clean || h.ends(cl.ID))
	c.client.Store(cl)
}

// ends says whether the session of a connected client ends when another takes its name: the library goes on with none of MQTT 3.1.1 that
// had a clean start.
func (h *hook) ends(id string) bool {
	old, known := h.b.server.Clients.Get(id)
	return known && old.Properties.Clean && old.Properties.ProtocolVersion < 5
}

// OnSessionEstablished comes after all that the session is owed has been written again.
func (h *hook) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	c := cl.Net.Conn.(*conn)
	c.mu.Lock()
	c.out = c.window.resume(c.out, c.session.order)
	c.account()
	c.mu.Unlock()
	c.flush()
}

// OnQosPublish notes the order in which messages go to a client.
func (h *hook) OnQosPublish(cl *mochi.Client, pk packets.Packet, _ int64, _ int) {
	if c, ok := cl.Net.Conn.(*conn); ok && pk.FixedHeader.Type == packets.Publish && !pk.FixedHeader.Dup {
		if !c.session.owe(pk.PacketID, extent(&pk)) && cl.State.Inflight.Delete(pk.PacketID) { // it is sent once, to who is there
			atomic.AddInt64(&h.b.server.Info.Inflight, -1)
			h.b.m.dropped.WithLabelValues("not_kept").Inc()
		}
		c.session.sweep(func(id uint16) bool { _, ok := cl.State.Inflight.Get(id); return ok })
	}
}

func (h *hook) OnQosDropped(cl *mochi.Client, pk packets.Packet) { h.OnQosComplete(cl, pk) }

// OnQosComplete notes that a message is owed no more, unless another connection has taken the session over.
func (h *hook) OnQosComplete(cl *mochi.Client, pk packets.Packet) {
	if cl.IsTakenOver() {
		return
	}
	if c, ok := cl.Net.Conn.(*conn); ok && c.session != nil {
		c.session.settle(pk.PacketID)
	}
}

func (h *hook) OnDisconnect(cl *mochi.Client, _ error, expire bool) {
	if c, ok := cl.Net.Conn.(*conn); ok && expire && !cl.IsTakenOver() {
		h.b.sessions.drop(cl.ID, c.session)
	}
}

// OnClientExpired also removes the subscriptions, which the library leaves.
func (h *hook) OnClientExpired(cl *mochi.Client) {
	cl.ClearInflights()
	h.b.server.UnsubscribeClient(cl)
	if c, ok := cl.Net.Conn.(*conn); ok {
		h.b.sessions.drop(cl.ID, c.session)
	}
}

// OnSubscribe makes filters invalid that cost too much; the library then refuses them.
func (h *hook) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	h.b.heard.Store(true)
	n, all := cl.State.Subscriptions.Len(), atomic.LoadInt64(&h.b.server.Info.Subscriptions)
	for i := range pk.Filters {
		_, has := cl.State.Subscriptions.Get(pk.Filters[i].Filter)
		if !has {
			n, all = n+1, all+1
		}
		if !has && (n > h.b.o.MaxFilters || n > filterShare && all > int64(h.b.o.MaxSubscriptions)) || !sane(pk.Filters[i].Filter) {
			h.b.m.refused.WithLabelValues("subscription").Inc()
			pk.Filters[i].Filter = ""
		}
	}
	return pk
}

func (h *hook) OnWill(_ *mochi.Client, w mochi.Will) (mochi.Will, error) {
	if w.WillDelayInterval > 0 {
		return w, nil // it may never be sent; see OnRetainMessage
	}
	w.Retain = w.Retain && h.b.retained.keep(&packets.Packet{TopicName: w.TopicName, Payload: w.Payload, Properties: packets.Properties{User: w.User}})
	return w, nil
}

// OnRetainMessage takes away a will with a delay for which there is no room. All else has room before it is retained.
func (h *hook) OnRetainMessage(_ *mochi.Client, pk packets.Packet, _ int64) {
	if pk.Connect.WillProperties.WillDelayInterval > 0 && !h.b.retained.keep(&pk) {
		h.b.m.refused.WithLabelValues("retained").Inc()
		none := packets.Packet{TopicName: pk.TopicName}
		h.b.retained.keep(&none)
		h.b.server.Topics.RetainMessage(none)
	}
}

// OnWillSent stores a will that is a sample.
func (h *hook) OnWillSent(_ *mochi.Client, pk packets.Packet) {
	if !h.b.prefix.has(pk.TopicName) {
		return
	}
	p := parsed{label: h.b.o.DeviceLabel}
	h.b.read(&p, pk.TopicName, pk.Payload, false)
	h.b.collect.add(message{topic: pk.TopicName, payload: pk.Payload}, &p)
}

func (h *hook) OnRetainedExpired(topic string) { h.b.retained.keep(&packets.Packet{TopicName: topic}) }

// nothing is a packet that the library reads and forgets: an answer to no message.
func nothing() packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}
}

// OnPacketRead takes over all that belongs to messages from the client. Protocol errors are left to the
// library, which knows how to answer them.
func (h *hook) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok || c.client.Load() == nil {
		return pk, nil
	}
	switch pk.FixedHeader.Type {
	case packets.Subscribe, packets.Unsubscribe:
		// The library looks for the id among those of its own messages to the client, which are another
		// thing, and refuses it if there. Under 0 it finds none.
		if pk.PacketID != 0 {
			c.asked = pk.PacketID
			pk.PacketID, pk.FixedHeader.Qos = 0, 0
		}
	case packets.Publish:
		if pk.PublishValidate(0) != packets.CodeSuccess {
			return pk, nil
		}
		h.b.publish(c, &pk)
		return nothing(), nil
	case packets.Pubrel:
		if c.session.release(pk.PacketID) || c.version < 5 {
			c.reply(packets.Pubcomp, pk.PacketID)
		} else {
			c.replyCode(packets.Pubcomp, pk.PacketID, packets.ErrPacketIdentifierNotFound)
		}
		c.flush()
		return nothing(), nil
	case packets.Puback, packets.Pubcomp:
		c.credit()
	case packets.Pubrec:
		if pk.ReasonCode >= packets.ErrUnspecifiedError.Code {
			c.credit()
		}
	}
	return pk, nil
}

// OnPacketEncode gives answers to subscriptions their ids back.
func (h *hook) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if k := pk.FixedHeader.Type; k == packets.Suback || k == packets.Unsuback {
		if c, ok := cl.Net.Conn.(*conn); ok {
			pk.PacketID = c.asked
		}
	}
	return pk
}
