package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// network is namespaces, one for each node, on a bridge that the test is on as well:
//
//	test .254 ── bridge ─┬─ veth ─ .1 n1
//	                     ├─ veth ─ .2 n2
//	                     └─ veth ─ .3 n3
type network struct {
	name, subnet string // its first three numbers
	nodes        []*node
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s (it needs root and iproute2): %v: %s", strings.Join(args, " "), err, out)
	}
}

// newNetwork lays the network. The test's end takes it away, after the nodes have ended.
func newNetwork(t *testing.T, size int) *network {
	t.Helper()
	pid := os.Getpid()
	w := &network{name: fmt.Sprintf("mt%d", pid), subnet: fmt.Sprintf("10.%d.%d", 200+pid%50, pid/50%250)}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "delete", w.name).Run() })
	ip(t, "link", "add", w.name, "type", "bridge")
	ip(t, "address", "add", w.subnet+".254/24", "dev", w.name)
	ip(t, "link", "set", w.name, "up")
	for i := range size {
		ns, outer := w.namespace(i), fmt.Sprintf("%sv%d", w.name, i+1)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", ns).Run() })
		ip(t, "netns", "add", ns)
		ip(t, "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", ns)
		ip(t, "link", "set", outer, "master", w.name, "up")
		ip(t, "-n", ns, "address", "add", w.address(i)+"/24", "dev", "eth0")
		ip(t, "-n", ns, "link", "set", "eth0", "up")
		ip(t, "-n", ns, "link", "set", "lo", "up")
	}
	return w
}

func (w *network) namespace(i int) string { return fmt.Sprintf("%sn%d", w.name, i+1) }
func (w *network) address(i int) string   { return fmt.Sprintf("%s.%d", w.subnet, i+1) }

// start starts a node in each namespace.
func (w *network) start(t *testing.T, size int) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	exe := builder.Build(t, "", "github.com/minitrue/minitrue/cmd/minitrue", proc.Race()...)
	var seeds []string
	for i := range size {
		n := &node{data: filepath.Join(t.TempDir(), "data"), url: "http://" + w.address(i) + ":8080", mqtt: w.address(i) + ":1883", exe: "ip"}
		n.args = []string{
			"netns", "exec", w.namespace(i), exe, "--data-dir", n.data, "--listen", w.address(i), "--port=8080", "--tcp-port=9000",
			fmt.Sprintf("--node-id=n%d", i+1), "--cluster-key-file", key,
		}
		if len(seeds) > 0 {
			n.args = append(n.args, "--seeds="+strings.Join(seeds, ","))
		}
		n.start(t)
		w.nodes, seeds = append(w.nodes, n), append(seeds, w.address(i)+":9000")
	}
	untilActive(t, w.nodes, size)
}

// cut keeps what one node sends from another; mend ends that.
func (w *network) cut(t *testing.T, from, to int) {
	t.Helper()
	ip(t, "-n", w.namespace(from), "route", "add", "blackhole", w.address(to)+"/32")
}

func (w *network) mend(t *testing.T, from, to int) {
	t.Helper()
	ip(t, "-n", w.namespace(from), "route", "delete", "blackhole", w.address(to)+"/32")
}

// One node of three is cut off for longer than it is remembered by gossip, and then another does not get what it is sent by one node alone. The
// cluster becomes one again by itself, all have the same, and nothing that was acknowledged is missing.
func TestClusterPartition(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3)
	w.start(t, 3)
	tr := startTraffic(t, w.nodes, 5_000, 20*time.Millisecond, w.nodes[0].url)
	faults := []struct {
		name  string
		cuts  [][2]int
		lasts time.Duration
	}{
		{"the third is alone", [][2]int{{0, 2}, {1, 2}, {2, 0}, {2, 1}}, 65 * time.Second},
		{"what the first sends does not reach the second", [][2]int{{0, 1}}, 10 * time.Second},
		{"what the third sends does not arrive", [][2]int{{2, 0}, {2, 1}}, 10 * time.Second},
	}
	for _, f := range faults {
		t.Log(f.name)
		for _, c := range f.cuts {
			w.cut(t, c[0], c[1])
		}
		some := tr.writers[1].some.Load()
		time.Sleep(f.lasts)
		if f.lasts > silence && tr.writers[1].some.Load() == some {
			t.Error("nothing was acknowledged though two of three nodes could")
		}
		for _, c := range f.cuts {
			w.mend(t, c[0], c[1])
		}
		untilActive(t, w.nodes, 3)
	}
	tr.check(t, w.nodes)
	healed := time.Now()
	untilEqual(t, w.nodes)
	t.Logf("all have the same %v after the load", time.Since(healed).Round(time.Second))
}
