package mqtt

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// conn stands between a socket and the broker library, to guard both:
//
//   - The first packet must be a CONNECT of bounded size, before memory is spent on it.
//   - Writes never block: they go to a bounded buffer, which its own goroutine empties. The library
//     holds locks while it writes, and one slow reader would stop all. A reader
//     that falls behind by more than the buffer is cut off.
//   - Large packets that have begun and not come are few and have a deadline; see promises.
//   - Deadlines are set a few times per keepalive and not for each packet.
//   - The Receive Maximum of an MQTT 5 subscriber is kept here; see window.
type conn struct {
	net.Conn
	b *Broker

	// Set when the client is authenticated, before other goroutines know the connection.
	client    atomic.Pointer[mochi.Client]
	session   *session
	user      *User
	version   byte
	keepalive time.Duration

	// Of the reading goroutine alone.
	hello    hello
	promises promises
	deadline time.Time
	said     parsed
	asked    uint16 // the id of the last SUBSCRIBE or UNSUBSCRIBE

	waiting  atomic.Int32  // messages that wait for their commit
	draining atomic.Bool   // Read returns nothing any more
	gone     chan struct{} // closed by Close

	mu     sync.Mutex // guards what follows
	out    []byte     // to be written
	spare  []byte
	window window
	shut   bool
	wake   chan struct{} // has one token when out, or shut, wants attention
	under  int           // bytes that are being written
	told   int64         // bytes that count in the broker's waiting
}

const (
	maxOut   = 4 << 20  // bytes that may wait for a reader; at least one packet always may
	outShare = 64 << 10 // when too much waits for all of them
)

// account tells the broker how much waits for this reader; true: too much waits for all. The caller holds mu.
func (c *conn) account() bool {
	n := int64(len(c.out) + c.window.bytes + c.under)
	change := n - c.told
	c.told = n
	return c.b.outgoing.Add(change) > int64(c.b.o.OutBytes)
}

func newConn(b *Broker, nc net.Conn) *conn {
	return &conn{Conn: nc, b: b, hello: hello{max: b.o.ConnectMax}, said: parsed{label: b.o.DeviceLabel}, gone: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// Read refuses to pass on a first packet that is no CONNECT or too large.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.draining.Load() {
		<-c.gone
		return 0, net.ErrClosed
	}
	if n > 0 && !c.hello.passed {
		if herr := c.hello.check(p[:n]); herr != nil {
			return 0, herr
		}
	}
	if !c.follow(p[:n]) {
		c.b.m.dropped.WithLabelValues("promised").Inc()
		return 0, errPromised
	}
	return n, err
}

// drain stops reading, without an error that would make the library act.
func (c *conn) drain() {
	c.draining.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// SetDeadline is called by the library before it reads a packet. The time it
// gives is one and a half keepalives from now, as far as 16 bits go.
func (c *conn) SetDeadline(time.Time) error {
	if c.draining.Load() || c.promises.large > 0 {
		return nil
	}
	if c.keepalive == 0 {
		if c.deadline.IsZero() {
			return nil
		}
		c.deadline = time.Time{}
		return c.Conn.SetReadDeadline(c.deadline)
	}
	t := time.Now().Add(c.keepalive + c.keepalive/2)
	if t.Sub(c.deadline) < c.keepalive/8 {
		return nil
	}
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}

var errSlow = errors.New("the client reads too slowly")

// Write queues whole packets.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.shut {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.out = c.window.pass(c.out, p)
	most := max(maxOut, 2*len(p))
	if c.account() {
		most = outShare
	}
	slow := len(c.out)+c.window.bytes > most
	c.mu.Unlock()
	if slow {
		c.b.m.dropped.WithLabelValues("slow").Inc()
		c.cut(errSlow)
		return 0, errSlow
	}
	c.flush()
	return len(p), nil
}

// reply queues an answer of two bytes and a packet id; flush sends it.
func (c *conn) reply(kind byte, id uint16) {
	c.replyBytes([]byte{kind << 4, 2, byte(id >> 8), byte(id)})
}

// replyCode is reply with a reason, which only MQTT 5 has.
func (c *conn) replyCode(kind byte, id uint16, code packets.Code) {
	c.replyBytes([]byte{kind << 4, 3, byte(id >> 8), byte(id), code.Code})
}

func (c *conn) replyBytes(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.shut {
		c.out = append(c.out, p...)
	}
}

func (c *conn) flush() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// credit tells that the client has finished a message of quality 1 or 2.
func (c *conn) credit() {
	c.mu.Lock()
	c.out = c.window.credit(c.out)
	c.account()
	c.mu.Unlock()
	c.flush()
}

// Close ends reading at once, and writing when what is queued has been written.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return nil
	}
	c.shut = true
	close(c.gone)
	c.flush()
	return c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// cut closes the connection without another word. It does not block.
func (c *conn) cut(why error) {
	if cl := c.client.Load(); cl != nil {
		cl.Stop(why)
	}
	c.mu.Lock()
	c.out, c.window.held, c.window.bytes = nil, nil, 0
	c.account()
	c.mu.Unlock()
	_ = c.Close()
	_ = c.Conn.SetDeadline(time.Unix(1, 0))
}

// write is the writing goroutine. It ends when the connection is closed, and closes the socket.
func (c *conn) write() {
	defer func() {
		c.mu.Lock()
		c.out, c.window.held, c.window.bytes, c.under = nil, nil, 0, 0
		c.account()
		c.mu.Unlock()
		_ = c.Conn.Close()
	}()
	for range c.wake {
		c.mu.Lock()
		p, shut := c.out, c.shut
		c.out, c.spare, c.under = c.spare[:0], nil, len(p)
		c.mu.Unlock()
		if len(p) > 0 {
			limit := c.b.o.WriteTimeout
			if shut {
				limit = min(limit, time.Second)
			}
			_ = c.Conn.SetWriteDeadline(time.Now().Add(limit))
			if _, err := c.Conn.Write(p); err != nil {
				if !shut {
					c.b.m.dropped.WithLabelValues("write").Inc()
				}
				c.cut(err)
				return
			}
		}
		if shut {
			return
		}
		c.mu.Lock()
		if cap(p) <= 64<<10 {
			c.spare = p
		}
		c.under = 0
		c.account()
		again := len(c.out) > 0 || c.shut
		c.mu.Unlock()
		if again {
			c.flush()
		}
	}
}
