package mqtt

import (
	"errors"
	"time"
)

const (
	largePacket = 64 << 10 // bytes from which on a packet counts
	packetRate  = 32 << 10 // bytes a second that a sender of one makes at least
)

var errPromised = errors.New("too many large packets are on their way")

// promises follows the packets that come over a connection. The library takes memory for one when its length has come, and waits for the
// rest: of those that are large only so many are on their way at once, each for a while.
type promises struct {
	head   int // bytes of the header so far; 0: the next byte is a packet's first
	length int
	left   int // of the packet
	large  int // bytes of a large packet that count; 0: it is none
}

// follow looks at what has come. It returns false when a large packet has begun for which there is no room.
func (c *conn) follow(p []byte) bool {
	f := &c.promises
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, len(p))
			f.left, p = f.left-n, p[n:]
			if f.left == 0 && f.large > 0 {
				c.kept()
			}
			continue
		}
		if f.head > 0 {
			f.length |= int(p[0]&0x7f) << (7 * (f.head - 1))
		}
		more := f.head == 0 || p[0] >= 0x80 && f.head < 4
		f.head, p = f.head+1, p[1:]
		if more {
			continue
		}
		f.left, f.head, f.length = f.length, 0, 0
		if n := f.left; n >= largePacket && n <= c.b.o.PacketMax && n > len(p) && !c.promise(n) { // a larger one the library refuses
			return false
		}
	}
	return true
}

// promise takes room for a large packet.
func (c *conn) promise(n int) bool {
	c.promises.large = n
	if c.b.promised.Add(int64(n)) > int64(c.b.o.ReadBytes) && n <= c.b.o.ReadBytes {
		return false
	}
	if !c.draining.Load() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.b.o.PacketTimeout + time.Duration(n)*time.Second/packetRate))
	}
	return true
}

// kept gives the room back: the packet is there, or never will be.
func (c *conn) kept() {
	c.b.promised.Add(-int64(c.promises.large))
	c.promises.large = 0
	if c.draining.Load() {
		return
	}
	c.deadline = time.Time{}
	if c.keepalive == 0 {
		_ = c.Conn.SetReadDeadline(time.Time{})
		return
	}
	_ = c.SetDeadline(time.Time{})
}
