package main

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// relay is an address at which others find a node, though it listens at another one. What goes to its peer port and comes from there is late.
//
//	other nodes ──▶ 127.0.0.2 ──delay──▶ 127.0.0.1
type relay struct {
	delay atomic.Int64 // ns
	ended chan struct{}
	busy  sync.WaitGroup
}

const relayAddress = "127.0.0.2" // on Linux all of 127.0.0.0/8 is this machine

// newRelay relays the gossip of a node at once, and what comes to its peer port after a delay.
func newRelay(t *testing.T, gossip, peer string) *relay {
	t.Helper()
	r := &relay{ended: make(chan struct{})}
	t.Cleanup(func() {
		close(r.ended)
		r.busy.Wait()
	})
	r.listen(t, peer, func() time.Duration { return time.Duration(r.delay.Load()) })
	r.listen(t, gossip, func() time.Duration { return 0 })
	from, err := net.ListenPacket("udp", net.JoinHostPort(relayAddress, gossip))
	if err != nil {
		t.Fatal(err)
	}
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	if to.Port, err = strconv.Atoi(gossip); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = from.Close() })
	r.busy.Go(func() {
		for b := make([]byte, 1<<16); ; { // nodes answer to the address that is in a packet, and not to where it came from
			n, _, err := from.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = from.WriteTo(b[:n], to)
			}
		}
	})
	return r
}

func (r *relay) listen(t *testing.T, port string, delay func() time.Duration) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(relayAddress, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r.busy.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
			if err != nil {
				_ = near.Close()
				continue
			}
			r.busy.Go(func() { r.carry(far, near, delay) })
			r.busy.Go(func() { r.carry(near, far, delay) })
			r.busy.Go(func() {
				<-r.ended
				_ = near.Close()
				_ = far.Close()
			})
		}
	})
}

// carry copies what comes from a connection to another one, as late as the delay says when it is its turn.
func (r *relay) carry(to, from net.Conn, delay func() time.Duration) {
	defer to.Close()
	defer from.Close()
	type piece struct {
		b  []byte
		at time.Time
	}
	pieces := make(chan piece, 64)
	broken := make(chan struct{})
	r.busy.Go(func() {
		defer close(pieces)
		for {
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			if n > 0 {
				select {
				case pieces <- piece{b[:n], time.Now()}:
				case <-broken:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	defer close(broken)
	for p := range pieces {
		for time.Since(p.at) < delay() {
			select {
			case <-r.ended:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
		if _, err := to.Write(p.b); err != nil {
			return
		}
	}
}

// slowness is what was seen while a node was slow.
type slowness struct {
	asked          int
	longest        time.Duration
	queued, memory float64 // bytes, the most of each
}

// askWhile asks nodes in turn and looks at what they hold, for a while.
func askWhile(t *testing.T, nodes []*node, lasts time.Duration) (s slowness) {
	t.Helper()
	for start := time.Now(); time.Since(start) < lasts; {
		n := nodes[s.asked%len(nodes)]
		for _, query := range []string{`sum(count_over_time(sequence[2h]))`, `count(sequence)`, `avg(rate(temperature[1h]))`, `count by (site) (max_over_time(temperature[30d]))`, `topk(1, sequence)`} {
			began := time.Now()
			if _, err := instant(n.url, query, time.Time{}); err != nil {
				t.Errorf("%s through %s: %v", query, n.url, err)
			}
			s.longest = max(s.longest, time.Since(began))
			s.asked++
		}
		for name, most := range map[string]*float64{"minitrue_cluster_write_queued_bytes": &s.queued, "process_resident_memory_bytes": &s.memory} {
			got, err := n.metric(name)
			if err != nil {
				t.Error(err)
			}
			*most = max(*most, got)
		}
	}
	return s
}

// One node of three takes longer to answer than writes and queries wait for it. Through the others they go on, right and sooner than it
// answers, in bounded memory; when it is fast again it gets what it has missed.
func TestClusterSlowReplica(t *testing.T) {
	t.Parallel()
	fast, seeds := startCluster(t, 2)
	gossip, peer := strconv.Itoa(ports.Next(t)), strconv.Itoa(ports.Next(t))
	r := newRelay(t, gossip, peer)
	third, _ := newMember(t, "n3", seeds, "--advertise="+relayAddress, "--tcp-port="+gossip, "--peer-port="+peer)
	third.start(t)
	nodes := append(slices.Clone(fast), third)
	untilActive(t, nodes, 3)
	tr := startTraffic(t, fast, 20_000, 0, fast[0].url)
	untilScalar(t, third.url, `count_over_time(sequence{device_id="writer-0"}[2h])`, func(v float64) bool { return v > 1000 })

	// Half of it before, and half of it behind. A write gives up after 5 s, and a query asks another node after some times what it usually
	// takes, which is long where the processor is busy.
	delay := max(8*time.Second, 10*askWhile(t, fast, 2*time.Second).longest)
	r.delay.Store(int64(delay / 2))
	lasts := 4 * delay
	if testing.Short() {
		lasts = 2 * delay
	}
	before := tr.writers[0].some.Load()
	s := askWhile(t, fast, lasts)
	acked := tr.writers[0].some.Load() - before
	hints, err := fast[0].metric("minitrue_cluster_write_hints_appended_total", "peer=n3")
	if err != nil {
		t.Error(err)
	}
	r.delay.Store(0)
	t.Logf("%d queries, the longest took %v of %v; %d messages of a writer acknowledged, %v writes kept for the slow node; at most %.1f MiB on the way and %.0f MiB resident",
		s.asked, s.longest.Round(time.Millisecond), delay, acked, hints, s.queued/(1<<20), s.memory/(1<<20))
	if s.longest >= delay {
		t.Errorf("a query took %v: it has waited for the slow node", s.longest)
	}
	if s.queued > 64<<20 || s.memory > 512<<20 && len(proc.Race()) == 0 {
		t.Errorf("%.0f bytes were on the way and %.0f resident", s.queued, s.memory)
	}
	if acked == 0 || hints == 0 {
		t.Errorf("%d messages were acknowledged and %v writes kept for the slow node", acked, hints)
	}
	untilActive(t, nodes, 3)
	tr.check(t, nodes)
	untilEqual(t, nodes)
}
