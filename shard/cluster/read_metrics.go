package cluster

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/minitrue/minitrue/shard"
)

type readMetrics struct {
	queries  *prometheus.CounterVec
	failures *prometheus.CounterVec
	hedges   prometheus.Counter
	restarts prometheus.Counter
	received prometheus.Counter
	verified prometheus.Counter
	differed prometheus.Counter
	pushed   prometheus.Counter
	unpushed prometheus.Counter
}

func newReadMetrics(reg prometheus.Registerer) *readMetrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "minitrue_cluster_read_" + name + "_total", Help: help})
	}
	return &readMetrics{
		queries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_cluster_read_queries_total",
			Help: "Queries that concerned other nodes, by outcome: ok, partial, unavailable, or error.",
		}, []string{"outcome"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_cluster_read_failures_total",
			Help: "Answers that a node owed to a query and did not give, by its name.",
		}, []string{"peer"}),
		hedges:   counter("hedges", "Questions that were put to another node since the first was silent."),
		restarts: counter("restarts", "Queries that began again since nodes knew different rings."),
		received: counter("received_bytes", "Bytes of samples and labels that other nodes answered with."),
		verified: counter("verified_partitions", "Partitions of which one replica was read, since the digests of the others were equal."),
		differed: counter("differing_partitions", "Partitions whose replicas had different digests, and were read from several."),
		pushed:   counter("pushed_partitions", "Partitions whose samples another node evaluated, since the digests of the others were equal."),
		unpushed: counter("unpushed_partitions", "Partitions that other nodes were to evaluate and did not, and whose samples were read instead."),
	}
}

// count counts a query.
func (m *readMetrics) count(err error, l *lost) {
	var unavailable *unanswered
	outcome := "ok"
	switch {
	case errors.As(err, &unavailable):
		outcome = "unavailable"
	case err != nil:
		outcome = "error"
	case l.warning() != nil:
		outcome = "partial"
	}
	m.queries.WithLabelValues(outcome).Inc()
}

// failed notes that a node gave no answer.
func (r *Reader) failed(v *shard.View, node int, kind string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	name := nameOf(v, node)
	r.m.failures.WithLabelValues(name).Inc()
	r.o.Logger.Debug("a node did not answer a query", "peer", name, "kind", kind, "err", err)
}
