package wal

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	bytes, errors, torn prometheus.Counter
	sync                prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		bytes:  prometheus.NewCounter(prometheus.CounterOpts{Name: "minitrue_wal_written_bytes_total", Help: "Bytes written to the write-ahead log."}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "minitrue_wal_errors_total", Help: "Writes and syncs of the write-ahead log that failed."}),
		torn:   prometheus.NewCounter(prometheus.CounterOpts{Name: "minitrue_wal_torn_tails_total", Help: "Interrupted writes that were cut off at start-up."}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "minitrue_wal_sync_duration_seconds", Help: "How long an fsync of the write-ahead log took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14),
		}),
	}
	if r != nil {
		r.MustRegister(m.bytes, m.errors, m.torn, m.sync)
	}
	return m
}
