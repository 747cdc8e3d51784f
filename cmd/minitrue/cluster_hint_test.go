package main

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// There is no room for all the hints for a node that is down: what is left out is counted, and repair brings it.
func TestClusterHintsAreFull(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3, "--hint-size=64KB")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, nodes[0].url, 2000, 50_000)
	nodes[2].Kill(t)
	dropped := regexp.MustCompile(`minitrue_hint_dropped_bytes_total{reason="full"} [1-9]`)
	proc.Until(t, "hints are dropped and counted", func() error {
		body, err := fetch(nodes[0].url + "/metrics")
		if err != nil {
			return err
		}
		if !dropped.Match(body) {
			return errors.New("none is")
		}
		return nil
	})
	stop()
	<-l.ended
	nodes[2].start(t)
	untilActive(t, nodes, 3)
	untilEqual(t, nodes)
	nodes[0].Kill(t) // what is missing on the third cannot come from there any more
	l.check(t, nodes[2].url)
}
