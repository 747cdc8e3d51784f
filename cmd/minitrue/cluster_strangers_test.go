package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/cmd/internal/proc"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// keyFile writes a cluster key and returns its file.
func keyFile(t *testing.T, key []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, key, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// peerPort is the address of a node's peer port.
func (n *node) peerPort() string {
	for _, a := range n.args {
		if port, ok := strings.CutPrefix(a, "--peer-port="); ok {
			return net.JoinHostPort("127.0.0.1", port)
		}
	}
	return ""
}

// call posts to the peer port of a node as another node would, with a key and a certificate that may be nil, and returns the code of
// the answer.
func (n *node) call(t *testing.T, key []byte, c *tls.Config, header http.Header) (int, error) {
	t.Helper()
	o := peer.ClientOptions{Self: "stranger", TLS: c}
	if key != nil {
		sum := sha256.Sum256(append([]byte("minitrue peer\x00"), key...))
		o.Secret = sum[:]
	}
	client := peer.NewClient(o)
	defer client.Close()
	resp, err := client.Post(t.Context(), shard.Member{Peer: n.peerPort()}, "/peer/v1/write", nil, header)
	var se *peer.StatusError
	switch {
	case err == nil:
		return resp.StatusCode, resp.Body.Close()
	case errors.As(err, &se):
		return se.Code, nil
	}
	return 0, err
}

// refusedBy waits until a node has said so in its log and counted it.
func refusedBy(t *testing.T, n *node, metric, reason, says string) {
	t.Helper()
	proc.Until(t, "the stranger is refused for its "+reason, func() error {
		if v, err := n.metric(metric, "reason="+reason); err != nil || v == 0 {
			return fmt.Errorf("%s counts %v %s, %w", metric, v, reason, err)
		}
		if !strings.Contains(n.Output(), says) {
			return fmt.Errorf("it does not say %q", says)
		}
		return nil
	})
}

// untilSays waits until a node has logged something.
func untilSays(t *testing.T, n *node, text string) {
	t.Helper()
	proc.Until(t, "the node says: "+text, func() error {
		if err := n.Ended(); err != nil {
			t.Fatalf("%v: %s", err, n.Output())
		}
		if !strings.Contains(n.Output(), text) {
			return errors.New("it does not")
		}
		return nil
	})
}

// unchanged takes a picture of a cluster, and returns what checks that it still is as it was, and works.
func unchanged(t *testing.T, nodes []*node) (check func()) {
	t.Helper()
	picture := func() (all []string) {
		for _, n := range nodes {
			s, err := n.cluster("")
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprint(s.Epoch, s.Nodes))
		}
		return all
	}
	before := picture()
	return func() {
		t.Helper()
		proc.Until(t, "the cluster is as it was", func() error { // where the processor is busy a node may be taken for down for a moment
			if after := picture(); strings.Join(after, " ") != strings.Join(before, " ") {
				return fmt.Errorf("it was %v and is %v", before, after)
			}
			return nil
		})
		w := newWriter(nodes[0], "after")
		publishFor(t, w, window)
		untilCounted(t, nodes, "after", len(w.acked))
	}
}

// A node with another cluster key and one with none do not get into a cluster and say why; nobody gets past the peer port without the key.
func TestClusterRefusesStrangers(t *testing.T) {
	t.Parallel()
	key, other := bytes.Repeat([]byte("k"), 32), bytes.Repeat([]byte("o"), 32)
	nodes, seeds := startCluster(t, 2, "--cluster-key-file="+keyFile(t, key))
	check := unchanged(t, nodes)
	for _, row := range []struct {
		flags       []string
		hears, says string
	}{
		{[]string{"--cluster-key-file=" + keyFile(t, other)}, "all need the same --cluster-key-file", "another secret"},
		{nil, "give it the same --cluster-key-file", "without a secret"},
	} {
		s, _ := newMember(t, "stranger", seeds, row.flags...)
		s.launch(t)
		untilSays(t, s, row.hears)
		refusedBy(t, nodes[0], "minitrue_gossip_refused_total", "secret", row.says)
		if resp, err := http.Get(s.url + "/-/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Error("the stranger is ready")
			}
		}
		s.Kill(t)
	}

	for _, row := range []struct {
		name, reason, says string
		key                []byte
		header             http.Header
		code               int
	}{
		{name: "no node", reason: "stranger", says: "the request is from none", header: http.Header{}, code: http.StatusBadRequest},
		{name: "no key", reason: "unsigned", says: "reason=unsigned", code: http.StatusUnauthorized},
		{name: "another key", reason: "signature", says: "reason=signature", key: other, code: http.StatusUnauthorized},
	} {
		proc.Until(t, row.name+" is refused", func() error { // of several refusals in a second one is logged
			var code int
			var err error
			if row.header != nil {
				var resp *http.Response
				if resp, err = http.Post("http://"+nodes[0].peerPort()+"/peer/v1/write", "", nil); err == nil {
					code = resp.StatusCode
					_ = resp.Body.Close()
				}
			} else {
				code, err = nodes[0].call(t, row.key, nil, nil)
			}
			if err != nil || code != row.code {
				t.Errorf("%s: code %d, %v, want %d", row.name, code, err, row.code)
			}
			if !strings.Contains(nodes[0].Output(), row.says) {
				return fmt.Errorf("the log does not say %q", row.says)
			}
			return nil
		})
		refusedBy(t, nodes[0], "minitrue_peer_refused_requests_total", row.reason, row.says)
	}
	if code, err := nodes[0].call(t, key, nil, nil); err != nil || code == http.StatusUnauthorized {
		t.Errorf("with the key: %d, %v", code, err)
	}
	check()
}
