package gossip

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// network is one in memory, for memberlist, with links that can be cut. A packet over a cut link is lost, and a stream refused.
type network struct {
	mu    sync.Mutex
	ports map[string]*port
	cut   func(from, to string) bool // nil: all links are whole
	bytes map[string]int             // sent, by address
}

func newNetwork() *network {
	return &network{ports: map[string]*port{}, bytes: map[string]int{}}
}

// partition cuts the links between these addresses and all others; none heals the network.
func (n *network) partition(island ...string) {
	in := map[string]bool{}
	for _, a := range island {
		in[a] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = func(from, to string) bool { return in[from] != in[to] }
}

// sent is how many bytes an address sent.
func (n *network) sent(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bytes[addr]
}

// port is the transport of one address.
type port struct {
	n       *network
	addr    string
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
}

func (n *network) listen(addr string) *port {
	p := &port{n, addr, make(chan *memberlist.Packet, 100), make(chan net.Conn), make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports[addr] != nil {
		panic(addr + " is in use")
	}
	n.ports[addr] = p
	return p
}

func (p *port) peer(addr string, bytes int) *port {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	p.n.bytes[p.addr] += bytes
	if p.n.cut != nil && p.n.cut(p.addr, addr) {
		return nil
	}
	return p.n.ports[addr]
}

func (p *port) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	host, number, err := splitHostPort(p.addr)
	return net.ParseIP(host), number, err
}

func (p *port) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	if to := p.peer(addr, len(b)); to != nil {
		from, err := net.ResolveUDPAddr("udp", p.addr)
		if err != nil {
			return now, err
		}
		select {
		case to.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: from, Timestamp: now}:
		default: // its queue is full, and packets may be lost
		}
	}
	return now, nil
}

func (p *port) PacketCh() <-chan *memberlist.Packet { return p.packets }
func (p *port) StreamCh() <-chan net.Conn           { return p.streams }

func (p *port) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := p.peer(addr, 0)
	if to == nil {
		return nil, fmt.Errorf("dial %s: %w", addr, errors.New("no route"))
	}
	near, far := net.Pipe()
	select {
	case to.streams <- far:
		return &counting{near, p}, nil
	case <-to.done:
		return nil, fmt.Errorf("dial %s: connection refused", addr)
	case <-time.After(timeout):
		return nil, fmt.Errorf("dial %s: timeout", addr)
	}
}

func (p *port) Shutdown() error {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	if p.n.ports[p.addr] == p {
		close(p.done)
		delete(p.n.ports, p.addr)
	}
	return nil
}

// counting counts what the dialling side sends.
type counting struct {
	net.Conn
	p *port
}

func (c *counting) Write(b []byte) (int, error) {
	c.p.peer("", len(b))
	return c.Conn.Write(b)
}
