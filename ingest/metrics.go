package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	samples  *prometheus.CounterVec
	rejects  *prometheus.CounterVec
	failures *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer, g *gate) *metrics {
	f := promauto.With(r)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_ingest_inflight_samples",
		Help: "Samples, histograms and exemplars between their door and the commit.",
	}, func() float64 { n, _ := g.load(); return float64(n) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_ingest_waiting_batches",
		Help: "Batches that wait until others have been committed.",
	}, func() float64 { _, n := g.load(); return float64(n) })
	return &metrics{
		samples: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_ingest_samples_total",
			Help: "Float samples and histograms that were committed, by door.",
		}, []string{"door"}),
		rejects: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_ingest_rejected_total",
			Help: "Samples, histograms and exemplars that can never be stored, by door and reason.",
		}, []string{"door", "reason"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_ingest_failed_batches_total",
			Help: "Batches that were not committed, by door and outcome; senders try them again.",
		}, []string{"door", "outcome"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "minitrue_ingest_append_duration_seconds",
			Help:    "Time from the door to the commit of a batch, waiting included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"door"}),
	}
}

// doorMetrics are one door's, looked up once.
type doorMetrics struct {
	samples  prometheus.Counter
	seconds  prometheus.Observer
	rejects  *prometheus.CounterVec
	failures *prometheus.CounterVec
}

func (m *metrics) door(name string) doorMetrics {
	l := prometheus.Labels{"door": name}
	return doorMetrics{m.samples.With(l), m.seconds.With(l), m.rejects.MustCurryWith(l), m.failures.MustCurryWith(l)}
}

func (m doorMetrics) stored(n int, d time.Duration) {
	m.samples.Add(float64(max(n, 0)))
	m.seconds.Observe(d.Seconds())
}

func (m doorMetrics) rejected(reason string, n int) {
	m.rejects.WithLabelValues(reason).Add(float64(n))
}
func (m doorMetrics) failed(err error) { m.failures.WithLabelValues(outcome(err)).Inc() }
