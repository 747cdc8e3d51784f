package gossip

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/shard"
)

type metrics struct {
	nodes, up, owned                 prometheus.Gauge
	sent, received, dropped, changes prometheus.Counter
	joins, refused                   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "minitrue_gossip_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "minitrue_gossip_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "minitrue_gossip_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		nodes:    gauge("nodes", "Nodes of the cluster."),
		up:       gauge("up_nodes", "Nodes of the cluster that answer, as far as this one knows."),
		owned:    gauge("owned_partitions", "Partitions that this node owns."),
		sent:     counter("sent_bytes_total", "Bytes of messages that compare and carry records, as sent."),
		received: counter("received_bytes_total", "Bytes of such messages, as received."),
		dropped:  counter("dropped_messages_total", "Such messages that were dropped because too many came at once."),
		changes:  counter("changed_records_total", "Records that were written here or came from others."),
		joins:    vec("joins_total", "Attempts to reach a lost node or a seed.", "result"),
		refused:  vec("refused_total", "What came from a stranger or was not understood.", "reason"),
	}
	if r != nil {
		r.MustRegister(m.nodes, m.up, m.owned, m.sent, m.received, m.dropped, m.changes, m.joins, m.refused)
	}
	return m
}

func (m *metrics) see(v *shard.View) {
	up := 0
	for _, n := range v.Members {
		if n.Up {
			up++
		}
	}
	m.nodes.Set(float64(len(v.Members)))
	m.up.Set(float64(up))
	if v.Self >= 0 {
		m.owned.Set(float64(v.Ring.Owned(v.Self).Len()))
	} else {
		m.owned.Set(0)
	}
}

func (m *metrics) joined(err error) {
	if err != nil {
		m.joins.WithLabelValues("failed").Inc()
	} else {
		m.joins.WithLabelValues("reached").Inc()
	}
}
