package remote

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type readMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    prometheus.Counter
	samples  prometheus.Counter
	chunks   prometheus.Counter
}

func newReadMetrics(reg prometheus.Registerer, gate chan struct{}) *readMetrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "minitrue_remote_read_in_flight",
		Help: "Requests of remote_read at work, those that wait not counted."}, func() float64 { return float64(len(gate)) })
	return &readMetrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{Name: "minitrue_remote_read_requests_total",
			Help: "Requests of remote_read by the form of the answer (samples, chunks) and its status code; aborted: it broke off."}, []string{"form", "code"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{Name: "minitrue_remote_read_request_duration_seconds",
			Help: "Time from the header of a remote_read request to the end of its answer, waiting included.", Buckets: prometheus.DefBuckets}, []string{"form"}),
		bytes: f.NewCounter(prometheus.CounterOpts{Name: "minitrue_remote_read_answer_bytes_total",
			Help: "Bytes of remote_read answers."}),
		samples: f.NewCounter(prometheus.CounterOpts{Name: "minitrue_remote_read_samples_total",
			Help: "Samples and histograms in remote_read answers of the form samples."}),
		chunks: f.NewCounter(prometheus.CounterOpts{Name: "minitrue_remote_read_chunks_total",
			Help: "Chunks in remote_read answers of the form chunks."}),
	}
}

func (m *readMetrics) observe(form, code string, w *readWriter, took time.Duration) {
	m.requests.WithLabelValues(form, code).Inc()
	m.seconds.WithLabelValues(form).Observe(took.Seconds())
	m.bytes.Add(float64(w.bytes))
	m.samples.Add(float64(w.samples))
	m.chunks.Add(float64(w.chunks))
}
