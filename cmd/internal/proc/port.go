package proc

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"
)

// Ports gives out free ports on 127.0.0.1, each of them once, and on Linux to one alone of the processes that use this
// package at a time: the tests of other packages run beside, and a program that is about to start, or was killed,
// does not listen. They lie below those from which systems take the near end of outgoing connections, so that a
// program that was killed finds its port free when it comes back. The zero value is ready for use.
type Ports struct {
	mu    sync.Mutex // guards given
	given map[int]io.Closer
}

const lowestPort, highestPort = 10_000, 32_000

// claim makes a port this process's own until it ends, under an abstract name, of which Linux keeps no file.
func claim(port int) (io.Closer, error) {
	if runtime.GOOS != "linux" {
		return io.NopCloser(nil), nil
	}
	return net.Listen("unix", fmt.Sprintf("@minitrue-test-port-%d", port))
}

// Next returns a port that nobody listens on.
func (p *Ports) Next(t testing.TB) int {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = map[int]io.Closer{}
	}
	for range 1000 {
		port := lowestPort + rand.N(highestPort-lowestPort)
		claimed, err := claim(port)
		if err != nil || p.given[port] != nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			_ = claimed.Close()
			continue
		}
		p.given[port] = claimed
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return 0
}
