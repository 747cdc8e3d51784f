package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// What is deleted while a replica is down does not come back with it, neither from its files nor from hints that waited for it; what was
// written to the same series after the delete stays.
func TestClusterDeleteWhileDown(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3)
	before := filled(t, nodes[0], "before") // on all three
	untilCounted(t, nodes, "before", len(before.acked))
	nodes[2].Kill(t)
	hinted := filled(t, nodes[1], "hinted") // hints wait for the third
	for _, device := range []string{"before", "hinted"} {
		untilDeleted(t, nodes[0], fmt.Sprintf(`sequence{device_id=%q}`, device))
	}
	untilCounted(t, nodes[:2], "before", 0)
	again := newWriter(nodes[1], "before")
	again.base = before.base // the same times as before
	publishFor(t, again, 2*window)
	nodes[2].start(t)
	untilActive(t, nodes, 3)
	untilEqual(t, nodes)
	untilCounted(t, nodes, "hinted", 0)
	untilCounted(t, nodes, "before", len(again.acked))
	if len(hinted.acked) == 0 || len(before.acked) <= len(again.acked) {
		t.Errorf("%d, %d and %d were acknowledged", len(before.acked), len(hinted.acked), len(again.acked))
	}
}

// untilDeleted asks a node for a delete until it is accepted: there is 503 until it is known which nodes are down.
func untilDeleted(t *testing.T, n *node, selector string) {
	t.Helper()
	proc.Until(t, "the delete of "+selector+" is accepted", func() error {
		resp, err := http.PostForm(n.url+"/api/v1/admin/tsdb/delete_series", url.Values{"match[]": {selector}})
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	})
}

// filled publishes a thousand readings of a device.
func filled(t *testing.T, n *node, device string) *writer {
	t.Helper()
	w := newWriter(n, device)
	publishFor(t, w, 1000)
	return w
}

// publishFor publishes until so many readings are acknowledged, and no window more.
func publishFor(t *testing.T, w *writer, acked int) {
	t.Helper()
	w.enough = acked
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.run(ctx)
	}()
	defer func() {
		stop()
		<-ended
	}()
	proc.Until(t, fmt.Sprintf("%d readings of %s are acknowledged", acked, w.device), func() error {
		if n := w.some.Load(); n < int64(acked) {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

// untilCounted waits until all nodes count so many readings of a device.
func untilCounted(t *testing.T, nodes []*node, device string, want int) {
	t.Helper()
	proc.Until(t, fmt.Sprintf("all count %d readings of %s", want, device), func() error {
		for _, n := range nodes {
			got, err := scalar(n.url, fmt.Sprintf(`sum(count_over_time(sequence{device_id=%q}[2h])) or vector(0)`, device))
			if err != nil {
				return err
			}
			if got != float64(want) {
				return fmt.Errorf("%s counts %v", n.url, got)
			}
		}
		return nil
	})
}
