package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// untilState waits until a node says of another that it is in a state; the state "gone" is that it is no longer there.
func untilState(t *testing.T, by *node, name, state string) {
	t.Helper()
	proc.Until(t, name+" is "+state, func() error {
		s, err := by.cluster("")
		if err != nil {
			return err
		}
		is := "gone"
		for _, m := range s.Nodes {
			if m.Name == name {
				is = m.State
			}
		}
		if is != state {
			return fmt.Errorf("%s is %s", name, is)
		}
		return nil
	})
}

// untilDown waits until a node takes another one for down.
func untilDown(t *testing.T, by *node, name string) {
	t.Helper()
	proc.Until(t, name+" is down", func() error {
		s, err := by.cluster("")
		if err != nil {
			return err
		}
		for _, m := range s.Nodes {
			if m.Name == name && m.Up {
				return fmt.Errorf("%s is up", name)
			}
		}
		return nil
	})
}

// killWhile kills a node while another one sees it in a state, and starts it again.
func killWhile(t *testing.T, victim, by *node, name, state string) {
	t.Helper()
	untilState(t, by, name, state)
	victim.Kill(t)
	victim.start(t)
}

// postCluster asks for a change of the cluster.
func postCluster(t *testing.T, n *node, path, name string) {
	t.Helper()
	resp, err := http.PostForm(n.url+"/api/v1/cluster/"+path, url.Values{"node": {name}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := answer(resp); err != nil {
		t.Fatalf("%s %s: %v", path, name, err)
	}
}

// A node that joins, one that leaves and one that takes the place of a dead one are each killed on the way, under load. All the time every
// answer has all that is acknowledged, each change comes to its end, and in the end nothing is missing.
func TestClusterChangesAreInterrupted(t *testing.T) {
	t.Parallel()
	nodes, seeds := startCluster(t, 3)
	tr := startTraffic(t, nodes[:1], 2_000, 50*time.Millisecond, nodes[0].url)
	fourth, _ := newMember(t, "n4", seeds)
	fourth.start(t)
	killWhile(t, fourth, nodes[0], "n4", "joining")
	nodes = append(nodes, fourth)
	untilActive(t, nodes, 4)

	postCluster(t, nodes[2], "leave", "n2")
	killWhile(t, nodes[1], nodes[0], "n2", "leaving")
	nodes = []*node{nodes[0], nodes[2], nodes[3]}
	untilActive(t, nodes, 3)

	nodes[1].Kill(t)
	untilDown(t, nodes[0], "n3") // a node that is up is not replaced
	untilDown(t, nodes[2], "n3")
	fifth, _ := newMember(t, "n5", seeds, "--replaces=n3")
	fifth.start(t)
	killWhile(t, fifth, nodes[0], "n5", "joining")
	nodes[1] = fifth
	untilActive(t, nodes, 3)
	tr.check(t, nodes)
	untilEqual(t, nodes)
}

// Two nodes that join at once both get their part, one after the other. A third that has the identity of one of them is refused for as
// long as that one runs, and says why.
func TestClusterTwoJoinAtOnce(t *testing.T) {
	t.Parallel()
	nodes, seeds := startCluster(t, 2)
	tr := startTraffic(t, nodes[:1], 2_000, 50*time.Millisecond, nodes[0].url)
	third, gossip := newMember(t, "n3", seeds)
	fourth, _ := newMember(t, "n4", append(seeds, gossip))
	third.launch(t)
	fourth.launch(t)
	nodes = append(nodes, third, fourth)
	for _, n := range nodes[2:] {
		n.UntilOK(t, n.url+"/-/ready")
	}
	untilActive(t, nodes, 4)

	twin, _ := newMember(t, "n4", seeds)
	copyFile(t, filepath.Join(fourth.data, "node.json"), filepath.Join(twin.data, "node.json"))
	twin.launch(t)
	if code := twin.Wait(t); code == 0 || !strings.Contains(twin.Output(), "this node runs elsewhere already") {
		t.Errorf("the twin ended with %d and printed %s", code, twin.Output())
	}
	tr.check(t, nodes)
	untilActive(t, nodes, 4) // the twin has changed nothing
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
			err = os.WriteFile(to, b, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
