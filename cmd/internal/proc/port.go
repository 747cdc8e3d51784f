package proc

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports gives out free ports on 127.0.0.1, each of them once. They lie below those from which
// systems take the near end of outgoing connections, so that a program that was
// killed finds its port free when it comes back. The zero value is ready for use.
type Ports struct {
	mu    sync.Mutex // guards given
	given map[int]bool
}

const lowestPort, highestPort = 10_000, 32_000

// Next returns a port that nobody listens on.
func (p *Ports) Next(t testing.TB) int {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = map[int]bool{}
	}
	for range 1000 {
		port := lowestPort + rand.N(highestPort-lowestPort)
		if p.given[port] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		p.given[port] = true
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return 0
}
