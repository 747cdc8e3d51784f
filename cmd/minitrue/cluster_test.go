package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// clusterView is what a test needs of GET /api/v1/cluster.
type clusterView struct {
	Epoch string `json:"epoch"`
	Nodes []struct {
		Name, State string
		Up          bool
		Partitions  int
	} `json:"nodes"`
	Change any `json:"change"`

	Consistency string `json:"write_consistency"`
	Held        string `json:"held_consistency"`
	Digests     string `json:"digests"` // of all that the node keeps
}

func (n *node) cluster(query string) (s clusterView, err error) {
	body, err := fetch(n.url + "/api/v1/cluster" + query)
	if err != nil {
		return s, err
	}
	answer := struct{ Data *clusterView }{&s}
	return s, json.Unmarshal(body, &answer)
}

// newMember makes a node of a cluster: the first has no seeds.
func newMember(t *testing.T, name string, seeds []string, flags ...string) (n *node, gossip string) {
	t.Helper()
	port := ports.Next(t)
	gossip = "127.0.0.1:" + strconv.Itoa(port)
	args := []string{"--node-id=" + name, "--tcp-port=" + strconv.Itoa(port), "--peer-port=" + strconv.Itoa(ports.Next(t))}
	if len(seeds) > 0 {
		args = append(args, "--seeds="+strings.Join(seeds, ","))
	}
	return newNode(t, append(args, flags...)...), gossip
}

// startCluster starts a cluster of so many nodes and waits until all of them know that they are all active.
func startCluster(t *testing.T, size int, flags ...string) (nodes []*node, seeds []string) {
	t.Helper()
	for i := range size {
		n, gossip := newMember(t, fmt.Sprintf("n%d", i+1), seeds, flags...)
		n.start(t)
		nodes, seeds = append(nodes, n), append(seeds, gossip)
	}
	untilActive(t, nodes, size)
	return nodes, seeds
}

// untilActive waits until all nodes say that there are so many, active and up, on one ring.
func untilActive(t *testing.T, nodes []*node, size int) {
	t.Helper()
	proc.Until(t, fmt.Sprintf("%d nodes are active", size), func() error {
		epochs := map[string]bool{}
		for _, n := range nodes {
			s, err := n.cluster("")
			if err != nil {
				return err
			}
			epochs[s.Epoch] = true
			if len(s.Nodes) != size {
				return fmt.Errorf("%s knows %d nodes", n.url, len(s.Nodes))
			}
			for _, m := range s.Nodes {
				if m.State != "active" || !m.Up {
					return fmt.Errorf("%s says that %s is %s, up: %v", n.url, m.Name, m.State, m.Up)
				}
			}
		}
		if len(epochs) != 1 {
			return fmt.Errorf("there are %d rings", len(epochs))
		}
		return nil
	})
}

// untilEqual waits until all nodes keep the same; it is for clusters in which everybody keeps everything.
func untilEqual(t *testing.T, nodes []*node) {
	t.Helper()
	proc.Until(t, "the digests of all nodes agree", func() error {
		digests := map[string]int{}
		for _, n := range nodes {
			s, err := n.cluster("?digests=1")
			if err != nil {
				return err
			}
			digests[s.Digests]++
		}
		if len(digests) != 1 {
			return fmt.Errorf("they are %v", digests)
		}
		return nil
	})
}

// traffic is a load of every kind on a cluster, whose checker knows what was acknowledged.
type traffic struct {
	stop    context.CancelFunc
	load    *load
	writers []*writer
	wg      sync.WaitGroup
}

// startTraffic writes by remote_write to an address, and through each of these nodes by MQTT; and it asks all of them all the time.
func startTraffic(t *testing.T, nodes []*node, rate float64, pause time.Duration, address string) *traffic {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	tr := &traffic{stop: stop}
	t.Cleanup(tr.wg.Wait)
	t.Cleanup(stop)
	tr.load = startLoad(ctx, t, address, 2000, rate)
	for i, n := range nodes {
		w := newWriter(n, fmt.Sprintf("writer-%d", i))
		w.pause = pause
		tr.writers = append(tr.writers, w)
		tr.wg.Go(func() { w.run(ctx) })
		tr.wg.Go(func() { w.watch(ctx, t, nodes[(i+1)%len(nodes)].url) })
	}
	return tr
}

// check ends the traffic, and looks for all that was acknowledged through every node.
func (tr *traffic) check(t *testing.T, nodes []*node) {
	t.Helper()
	tr.stop()
	tr.wg.Wait()
	tr.load.check(t, nodes[len(nodes)-1].url)
	for _, w := range tr.writers {
		for _, n := range nodes {
			w.check(t, n)
		}
	}
}

// A node of three is killed and started again, stopped and let go on, under load: nothing acknowledged is missing from any
// answer, and in the end all have the same.
func TestClusterOneNodeDown(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3, "--memtable-size=1MB")
	tr := startTraffic(t, nodes, 20_000, 0, nodes[0].url)
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for i := range kills(t) {
		victim := nodes[1+rnd.IntN(2)] // the load is on the first
		time.Sleep(time.Duration(rnd.Int64N(int64(500 * time.Millisecond))))
		if i%2 == 1 {
			_ = syscall.Kill(victim.PID(), syscall.SIGSTOP)
			time.Sleep(time.Duration(rnd.Int64N(int64(3 * time.Second))))
			_ = syscall.Kill(victim.PID(), syscall.SIGCONT)
			continue
		}
		victim.Kill(t)
		time.Sleep(time.Duration(rnd.Int64N(int64(2 * time.Second))))
		victim.start(t)
	}
	untilActive(t, nodes, 3)
	tr.check(t, nodes)
	untilEqual(t, nodes)
}

// A fourth node joins under load and gets its part of the data; then one leaves.
func TestClusterGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	nodes, seeds := startCluster(t, 3)
	rate, pause := 20_000.0, time.Duration(0) // as fast as it goes
	if testing.Short() {                      // and so that the race detector leaves time for both
		rate, pause = 2_000, 50*time.Millisecond
	}
	tr := startTraffic(t, nodes, rate, pause, nodes[0].url)
	fourth, _ := newMember(t, "n4", seeds)
	fourth.start(t)
	nodes = append(nodes, fourth)
	untilActive(t, nodes, 4)
	s, err := fourth.cluster("")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range s.Nodes {
		if m.Partitions < 2700 || m.Partitions > 3400 { // 3/4 of 4096 are 3072
			t.Errorf("%s owns %d partitions", m.Name, m.Partitions)
		}
	}
	if resp, err := http.PostForm(nodes[0].url+"/api/v1/cluster/leave", url.Values{"node": {"n2"}}); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("leave: %v %v", resp, err)
	}
	rest := []*node{nodes[0], nodes[2], nodes[3]}
	untilActive(t, rest, 3)
	tr.check(t, rest)
}

// All nodes are killed at once, and come back by themselves.
func TestClusterRestart(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3)
	tr := startTraffic(t, nodes, 20_000, 0, nodes[0].url)
	untilScalar(t, nodes[1].url, `count_over_time(sequence{device_id="writer-0"}[2h])`, func(v float64) bool { return v > 1000 })
	for _, n := range nodes {
		n.Kill(t)
	}
	for _, n := range nodes {
		n.launch(t)
	}
	for _, n := range nodes {
		n.UntilOK(t, n.url+"/-/ready")
	}
	untilActive(t, nodes, 3)
	tr.check(t, nodes)
	untilEqual(t, nodes)
}
