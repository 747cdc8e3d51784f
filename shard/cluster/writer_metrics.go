package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type writeMetrics struct {
	samples, bytes, unknown, hinted, replayed, lost *prometheus.CounterVec // by peer
	failures                                        *prometheus.CounterVec // by peer and reason
	queued                                          *prometheus.GaugeVec   // by peer
	unavailable, restarts                           prometheus.Counter
}

func newWriteMetrics(r prometheus.Registerer) *writeMetrics {
	f := promauto.With(r)
	byPeer := func(name, help string, more ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "minitrue_cluster_write_" + name + "_total", Help: help}, append([]string{"peer"}, more...))
	}
	return &writeMetrics{
		samples:  byPeer("forwarded_samples", "Samples and histograms that another node has stored for this one's clients, by its name."),
		bytes:    byPeer("forwarded_bytes", "Bytes of the bodies of what another node has stored for this one's clients, by its name."),
		unknown:  byPeer("unknown", "Writes that were sent again with all labels, since a node did not know a series by its id, by the node's name."),
		failures: byPeer("failures", "Writes that a node did not store, by its name and by the reason: down, queue, timeout, stale, refused, answer or error.", "reason"),
		hinted:   byPeer("hints_appended", "Writes that were kept for a node that missed them, by its name."),
		replayed: byPeer("hints_replayed", "Kept writes that the node has got since, by its name."),
		lost:     byPeer("hints_dropped", "Writes that a node missed and that were not kept for it, by its name; comparing digests repairs them."),
		queued: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "minitrue_cluster_write_queued_bytes",
			Help: "Memory that writes on their way to a node may take, by its name.",
		}, []string{"peer"}),
		unavailable: f.NewCounter(prometheus.CounterOpts{
			Name: "minitrue_cluster_write_unavailable_total",
			Help: "Batches that too few nodes have stored; senders try them again.",
		}),
		restarts: f.NewCounter(prometheus.CounterOpts{
			Name: "minitrue_cluster_write_restarts_total",
			Help: "Batches that were sent again since the ring had changed, or something was deleted meanwhile.",
		}),
	}
}
