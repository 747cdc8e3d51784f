package remote

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/minitrue/minitrue/chunk/series"
)

type writeMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    prometheus.Counter
	written  *prometheus.CounterVec
	rejected *prometheus.CounterVec
}

func newWriteMetrics(reg prometheus.Registerer, b *budget) *writeMetrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "minitrue_remote_write_in_flight_bytes",
		Help: "Memory that remote_write requests in flight hold."}, func() float64 { return float64(b.used.Load()) })
	return &writeMetrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{Name: "minitrue_remote_write_requests_total",
			Help: "Requests of remote_write by its version and the status code of the answer."}, []string{"version", "code"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{Name: "minitrue_remote_write_request_duration_seconds",
			Help: "Time from the header of a remote_write request to its answer.", Buckets: prometheus.DefBuckets}, []string{"version"}),
		bytes: f.NewCounter(prometheus.CounterOpts{Name: "minitrue_remote_write_body_bytes_total",
			Help: "Compressed bytes of remote_write bodies."}),
		written: f.NewCounterVec(prometheus.CounterOpts{Name: "minitrue_remote_write_written_total",
			Help: "What remote_write stored, by kind: sample, histogram, exemplar."}, []string{"kind"}),
		rejected: f.NewCounterVec(prometheus.CounterOpts{Name: "minitrue_remote_write_rejected_total",
			Help: "Samples, histograms and exemplars that can never be stored, by reason; and metadata, each counted as one."}, []string{"reason"}),
	}
}

func (m *writeMetrics) observe(version string, out outcome, took time.Duration) {
	m.requests.WithLabelValues(version, strconv.Itoa(out.code)).Inc()
	m.seconds.WithLabelValues(version).Observe(took.Seconds())
	m.written.WithLabelValues("sample").Add(float64(out.written.samples))
	m.written.WithLabelValues("histogram").Add(float64(out.written.histograms))
	m.written.WithLabelValues("exemplar").Add(float64(out.written.exemplars))
}

func (m *writeMetrics) reject(r *series.Rejected) {
	for reason, n := range r.Reasons {
		m.rejected.WithLabelValues(reason).Add(float64(n))
	}
}
