package main

import (
	"fmt"
	"strings"
	"testing"
)

// Where each series is on one node, the nodes add up for each other what they have, and every one of them has the whole answer.
func TestClusterAddsUpWhereSeriesAre(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3, "--replication-factor=1")
	total, most := 0, 0
	for i := range 8 {
		w := newWriter(nodes[i%3], fmt.Sprint("device-", i))
		publishFor(t, w, 50+20*i)
		total, most = total+len(w.acked), max(most, len(w.acked))
	}
	for _, n := range nodes {
		for query, want := range map[string]int{
			"sum(count_over_time(sequence[2h]))":           total,
			"max(count_over_time(sequence[2h]))":           most,
			"count(last_over_time(sequence[2h]))":          8,
			"count(topk(3, last_over_time(sequence[2h])))": 3,
			"sum(topk(1, count_over_time(sequence[2h])))":  most,
		} {
			v, err := scalar(n.url, query)
			if err != nil || int(v) != want {
				t.Errorf("%s through %s: %v, %v; want %d", query, n.url, v, err, want)
			}
		}
		body, err := fetch(n.url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`minitrue_promql_scattered_aggregations_total{outcome="pushed"} `, "minitrue_cluster_read_pushed_partitions_total "} {
			if !strings.Contains(string(body), want) || strings.Contains(string(body), want+"0\n") {
				t.Errorf("%s has no %s", n.url, want)
			}
		}
	}
}
