package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// ring runs minitruectl ring status, and returns the fields of the line of each node, by its name.
func (n *node) ring(t *testing.T) map[string][]string {
	t.Helper()
	ctl := builder.Build(t, "", "github.com/minitrue/minitrue/cmd/minitruectl")
	out, err := exec.CommandContext(t.Context(), ctl, "ring", "status", "--url", n.url).CombinedOutput()
	if err != nil {
		t.Fatalf("minitruectl ring status: %v: %s", err, out)
	}
	return ringLines(string(out))
}

func ringLines(out string) map[string][]string {
	lines := map[string][]string{}
	for line := range strings.Lines(out) {
		if fields := strings.Fields(strings.Replace(line, " *", "  ", 1)); len(fields) > 4 && strings.Contains(line, "127.0.0.1:") {
			lines[fields[0]] = fields
		}
	}
	return lines
}

// checkQueryNode looks at what a node that only answers queries owns, and at what it answers about these writers.
func checkQueryNode(t *testing.T, q *node, writers []*writer) {
	t.Helper()
	ring := q.ring(t)
	for name, want := range map[string]string{"q": "nothing (queries)", "n1": "4096 (50.0%)", "n2": "4096 (50.0%)"} {
		if got := strings.Join(ring[name], " "); !strings.HasPrefix(got, name+" active up "+want) && !strings.HasPrefix(got, name+" active down "+want) {
			t.Errorf("ring status says of %s: %q", name, got)
		}
	}
	if kept, err := q.seriesKept(); err != nil || kept != 0 {
		t.Errorf("it keeps %d series, %v", kept, err)
	}
	var devices []string
	for _, w := range writers {
		w.check(t, q) // remote_read
		untilCount(t, q, w.device, "sequence", int64(len(w.acked)))
		untilScalar(t, q.url, fmt.Sprintf(`count_over_time(sequence{device_id=%q}[2h])`, w.device), func(v float64) bool { return v == float64(len(w.acked)) })
		devices = append(devices, w.device)
	}
	for path, want := range map[string][]string{
		"/api/v1/labels?match[]=sequence":                 {`"__name__"`, `"device_id"`},
		"/api/v1/label/device_id/values?match[]=sequence": devices,
		"/api/v1/series?match[]=sequence":                 devices,
		// However long it took from the first to the last of them.
		"/api/v1/query_range?query=count(last_over_time(sequence[2h]))&start=" + fmt.Sprint(writers[0].base/1000) + "&end=" + fmt.Sprint(writers[len(writers)-1].base/1000+60) + "&step=30": {`"resultType":"matrix"`, fmt.Sprintf(`"%d"`, len(devices))},
	} {
		body, err := fetch(q.url + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, w := range want {
			if !strings.Contains(string(body), w) {
				t.Errorf("%s: %s has no %s", path, body, w)
			}
		}
	}
}

// A node with --mode=query owns nothing, whatever becomes of the others and of itself, answers everything, and refuses writes.
func TestClusterQueryNode(t *testing.T) {
	t.Parallel()
	var nodes []*node
	var seeds []string
	for _, name := range []string{"n1", "n2"} {
		n, gossip := newMember(t, name, seeds, "--mode=ingestion")
		n.start(t)
		nodes, seeds = append(nodes, n), append(seeds, gossip)
	}
	q, _ := newMember(t, "q", seeds, "--mode=query")
	q.start(t)
	all := append(slices.Clone(nodes), q)
	untilActive(t, all, 3)

	e := newEar(t, q, "match[]=sequence")
	writers := publishAll(t, nodes, "first")
	e.untilHeard(t, writers)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, nodes[0].url, 200, 20_000)
	untilScalar(t, q.url, `min(count_over_time(temperature[30d]))`, func(v float64) bool { return v >= 20 })
	stop()
	<-l.ended
	checkQueryNode(t, q, writers)

	resp, err := http.Post(q.url+"/api/v1/write", "application/x-protobuf", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if u, _ := url.Parse(nodes[0].url); resp.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "n1 ("+u.Host+")") {
		t.Errorf("a write is answered %s: %s", resp.Status, text)
	}
	if c, err := net.Dial("tcp", q.mqtt); err == nil {
		_ = c.Close()
		t.Error("it listens for MQTT")
	}

	for i, n := range nodes {
		n.Kill(t)
		proc.Until(t, "the node is known to be down", func() error {
			if health := q.ring(t)[fmt.Sprintf("n%d", i+1)][2]; health != "down" {
				return fmt.Errorf("it is %s", health)
			}
			return nil
		})
		checkQueryNode(t, q, writers) // from the other
		n.start(t)
		untilActive(t, all, 3)
		e.untilMissing(t)
		writers = append(writers, publishAll(t, nodes, fmt.Sprintf("round-%d", i))...)
		e.untilHeard(t, writers)
		checkQueryNode(t, q, writers)
	}
	q.Kill(t)
	q.start(t)
	untilActive(t, all, 3)
	checkQueryNode(t, q, writers)
	l.check(t, q.url)
	untilEqual(t, nodes)
}
