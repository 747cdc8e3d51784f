package bench

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// publisher is one MQTT 3.1.1 client that publishes at QoS 1. Its packets are built once, one a
// packet id, and only their digits change:
//
//	┌──────┬────────┬─────────┬───────┬────┬─────────────────────────────────────────────────────────┐
//	│ 0x32 │ length │ 2 bytes │ topic │ id │ {"device_id":"…","metric_name":"…","timestamp":…,"value":…} │
//	└──────┴────────┴─ topic length ──┴────┴─────────────────────────────────────────────────────────┘
type publisher struct {
	conn     net.Conn
	messages int   // to be sent
	sent     int   //
	acked    int   //
	time     int64 // of the next reading, ms

	packet   []byte // of the next message
	id       int    // where in the packet its id stands
	stamp    int    // where the 13 digits of the timestamp stand
	value    int    // where the four bytes of the value, "nn.n", stand
	inflight []time.Time
	free     []uint16 // ids
	out      []byte
	took     []time.Duration
}

const (
	connectTimeout = 10 * time.Second
	ackTimeout     = 30 * time.Second // a broker that is silent for so long is stuck
)

func newPublisher(conn net.Conn, o PublishOptions, n, messages int) (*publisher, error) {
	p := &publisher{conn: conn, messages: messages, time: o.Start.UnixMilli(), inflight: make([]time.Time, o.Inflight+1)}
	for id := o.Inflight; id > 0; id-- {
		p.free = append(p.free, uint16(id))
	}
	p.took = make([]time.Duration, 0, messages)
	p.build(o.Topic, n)
	return p, p.connect(fmt.Sprintf("minitrue-bench-%d", n))
}

// build makes the packet whose digits change.
func (p *publisher) build(topic string, n int) {
	const metric = "temperature"
	topic += "/" + metric
	body := fmt.Appendf(nil, `{"device_id":"bench-%04d","metric_name":%q,"timestamp":`, n, metric)
	stamp := len(body)
	body = append(body, `0000000000000,"value":`...)
	value := len(body)
	body = append(body, `00.0}`...)

	p.packet = []byte{0x32}
	p.packet = binary.AppendUvarint(p.packet, uint64(2+len(topic)+2+len(body))) // MQTT's length is a uvarint
	p.packet = binary.BigEndian.AppendUint16(p.packet, uint16(len(topic)))
	p.packet = append(p.packet, topic...)
	p.id = len(p.packet)
	p.packet = append(p.packet, 0, 0)
	p.stamp, p.value = len(p.packet)+stamp, len(p.packet)+value
	p.packet = append(p.packet, body...)
}

// connect shakes hands: a clean session, no keep-alive.
func (p *publisher) connect(client string) error {
	b := []byte{0x10, byte(12 + len(client)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, byte(len(client))}
	if err := p.conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	if _, err := p.conn.Write(append(b, client...)); err != nil {
		return err
	}
	var ack [4]byte
	if _, err := io.ReadFull(p.conn, ack[:]); err != nil {
		return fmt.Errorf("read CONNACK: %w", err)
	}
	if ack[0] != 0x20 || ack[3] != 0 {
		return fmt.Errorf("the broker refuses the connection: CONNACK % x", ack)
	}
	return p.conn.SetDeadline(time.Time{})
}

// run keeps as many messages in flight as there are ids, and returns when all are acknowledged.
func (p *publisher) run() error {
	buf := make([]byte, 4096)
	n := 0
	for p.acked < p.messages {
		if err := p.send(); err != nil {
			return fmt.Errorf("write PUBLISH: %w", err)
		}
		if err := p.conn.SetReadDeadline(time.Now().Add(ackTimeout)); err != nil {
			return err
		}
		m, err := p.conn.Read(buf[n:])
		if err != nil {
			return fmt.Errorf("read PUBACK after %d of %d messages: %w", p.acked, p.messages, err)
		}
		n += m
		rest, err := p.acks(buf[:n])
		if err != nil {
			return err
		}
		n = copy(buf, rest)
	}
	_, err := p.conn.Write([]byte{0xe0, 0}) // DISCONNECT
	return err
}

// send writes a message for every free id, all in one write.
func (p *publisher) send() error {
	p.out = p.out[:0]
	now := time.Now()
	for len(p.free) > 0 && p.sent < p.messages {
		id := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.inflight[id] = now
		binary.BigEndian.PutUint16(p.packet[p.id:], id)
		t := p.time
		for i := p.stamp + 12; i >= p.stamp; i-- {
			p.packet[i] = byte('0' + t%10)
			t /= 10
		}
		tenths := p.sent / 8 % 100 // changes now and then, as a temperature does
		p.packet[p.value] = '2'
		p.packet[p.value+1] = byte('0' + tenths/10)
		p.packet[p.value+3] = byte('0' + tenths%10)
		p.out = append(p.out, p.packet...)
		p.sent++
		p.time++
	}
	if len(p.out) == 0 {
		return nil
	}
	_, err := p.conn.Write(p.out)
	return err
}

// acks takes whole PUBACKs off b and returns the rest.
func (p *publisher) acks(b []byte) (rest []byte, err error) {
	now := time.Now()
	for ; len(b) >= 4; b = b[4:] {
		id := binary.BigEndian.Uint16(b[2:])
		if b[0] != 0x40 || b[1] != 2 || int(id) >= len(p.inflight) || p.inflight[id].IsZero() {
			return nil, fmt.Errorf("want a PUBACK of a message in flight, the broker sent % x", b[:4])
		}
		p.took = append(p.took, now.Sub(p.inflight[id]))
		p.inflight[id] = time.Time{}
		p.free = append(p.free, id)
		p.acked++
	}
	return b, nil
}
