package replicate

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// targetMetrics are those of one target, whose URL is a label of all.
type targetMetrics struct {
	sent, bytes, refused, dropped prometheus.Counter
	failed                        *prometheus.CounterVec
}

func newTargetMetrics(r prometheus.Registerer, pending, lag func() float64) targetMetrics {
	f := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "minitrue_replicate_" + name, Help: help})
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_replicate_pending_bytes",
		Help: "Bytes on disk of writes that the target has not got yet.",
	}, pending)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_replicate_lag_seconds",
		Help: "How long ago the oldest write was accepted that the target has not got yet; 0 when it has all.",
	}, lag)
	return targetMetrics{
		sent:    counter("sent_samples_total", "Samples and histograms that the target has stored."),
		bytes:   counter("sent_bytes_total", "Compressed bytes of the requests that the target has answered for good."),
		refused: counter("refused_samples_total", "Samples and histograms that the target will never store: it says so, and the log says why."),
		dropped: counter("dropped_samples_total", "Samples and histograms for which the queue had no room: they are stored here alone."),
		failed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_replicate_failed_requests_total",
			Help: "Requests that are tried again, by the code of the answer, or network when there was none.",
		}, []string{"code"}),
	}
}
