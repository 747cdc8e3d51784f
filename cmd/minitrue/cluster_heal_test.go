package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// quarantined is which blocks a node has set aside.
func (n *node) quarantined() (dirs []string, err error) {
	body, err := fetch(n.url + "/api/v1/status/tsdb")
	if err != nil {
		return nil, err
	}
	var a struct {
		Data struct{ Quarantine []string }
	}
	return a.Data.Quarantine, json.Unmarshal(body, &a)
}

// flipped turns over a bit in the middle of a block's chunks.
func flipped(t *testing.T, n *node) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.data, "blocks", "*", "chunks.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d blocks: %v", len(files), err)
	}
	size := func(name string) int64 {
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	// The largest: where an even hour lies in the data there may be another one with next to nothing.
	name := slices.MaxFunc(files, func(a, b string) int { return cmp.Compare(size(a), size(b)) })
	b, err := os.ReadFile(name)
	if err == nil {
		b[len(b)/4] ^= 0x10 // the data pages come first, the statistics later
		err = os.WriteFile(name, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A block in which a bit has flipped is set aside by the node that has it, and what was in it comes back from the others: no answer
// misses anything meanwhile.
func TestClusterHealsDamage(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3)
	w := filled(t, nodes[0], "sensor")
	untilCounted(t, nodes, "sensor", len(w.acked))
	victim := nodes[2]
	if resp, err := http.Post(victim.url+"/api/v1/admin/tsdb/flush", "", nil); err != nil || resp.StatusCode/100 != 2 {
		t.Fatal(resp, err)
	}
	victim.Stop(t)
	flipped(t, victim)
	victim.start(t)
	proc.Until(t, "the damage is found", func() error {
		if dirs, err := victim.quarantined(); err != nil || len(dirs) > 0 {
			return err
		}
		w.check(t, victim) // which reads it, sooner or later from this copy
		return fmt.Errorf("it is not")
	})
	untilActive(t, nodes, 3)
	untilEqual(t, nodes)
}

// setting asks for a change of what the whole cluster does.
func setting(t *testing.T, n *node, name, value string) {
	t.Helper()
	resp, err := http.PostForm(n.url+"/api/v1/cluster/settings", url.Values{"name": {name}, "value": {value}})
	if err == nil {
		_, err = answer(resp)
	}
	if err != nil {
		t.Fatalf("set %s %s: %v", name, value, err)
	}
}

// The number of copies and the consistency of writes are changed while the cluster runs and is written to.
func TestClusterSettings(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3, "--replication-factor=1")
	tr := startTraffic(t, nodes, 2_000, 50*time.Millisecond, nodes[0].url)
	set := func(name, value string) {
		t.Helper()
		setting(t, nodes[1], name, value)
	}
	owned := func(partitions int) {
		t.Helper()
		proc.Until(t, fmt.Sprintf("the nodes own %d partitions", partitions), func() error {
			for _, n := range nodes {
				s, err := n.cluster("")
				if err != nil {
					return err
				}
				sum := 0
				for _, m := range s.Nodes {
					sum += m.Partitions
				}
				if sum != partitions || s.Change != nil {
					return fmt.Errorf("%s: %d, change %v", n.url, sum, s.Change)
				}
			}
			return nil
		})
	}
	owned(4096)
	set("replication-factor", "3")
	owned(3 * 4096)
	set("write-consistency", "all")
	tr.check(t, nodes)
	untilEqual(t, nodes)
	set("replication-factor", "2")
	owned(2 * 4096)
	for _, w := range tr.writers {
		for _, n := range nodes {
			w.check(t, n)
		}
	}
}
